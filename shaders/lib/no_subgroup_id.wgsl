// Which invocation this is, where none exchanges data through its subgroup.

struct InvocationId {
    @builtin(local_invocation_index) thread: u32,
}

fn subgroup_thread(id: InvocationId) -> u32 {
    return id.thread;
}
