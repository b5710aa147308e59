// Which invocation this is, with its place in its subgroup. Needs the `subgroups` feature.

struct InvocationId {
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) subgroup_thread: u32,
}

fn subgroup_thread(id: InvocationId) -> u32 {
    return id.subgroup_thread;
}
