// Which invocation this is, with its place in its subgroup. Needs the `subgroups` feature.
// The workgroup is a parameter of its own: browsers take all members of a struct as differing between invocations when one does,
// and a barrier must not depend on such a value.

struct InvocationId {
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) subgroup_thread: u32,
}

fn subgroup_thread(id: InvocationId) -> u32 {
    return id.subgroup_thread;
}
