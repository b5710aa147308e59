// y[row] = x[row] * rsqrt(mean(x[row]^2) + EPS) * weight
//   0 step    array<u32> (lib/step.wgsl)
//   1 x       [rows, STRIDE] f32 as vec4; elements from HIDDEN on are zero
//   2 weight  [STRIDE] f32 as vec4, zero from HIDDEN on
//   3 y       [rows, STRIDE] f32 as vec4
// Grid: one workgroup per row, or per sample where ONLY_SAMPLED: then only the sampled rows of y are written.
// Constants: HIDDEN, STRIDE (a multiple of 4), EPS, ONLY_SAMPLED, WORKGROUP (a multiple of 8, or less). Limits: WORKGROUP
// invocations, 4 bytes of workgroup memory for each and 32 more.
@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

const VECTORS = STRIDE / 4u;
// First these many partial sums, then one.
const PARTS = min(WORKGROUP, 8u);

var<workgroup> sums: array<f32, WORKGROUP>;
var<workgroup> part_sums: array<f32, PARTS>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    var row = workgroup.x;
    if ONLY_SAMPLED {
        row = sample_row(workgroup.x);
    }
    let start = row * VECTORS;
    var square = vec4<f32>();
    for (var i = thread; i < VECTORS; i += WORKGROUP) {
        let value = x[start + i];
        square += value * value;
    }
    sums[thread] = square.x + square.y + square.z + square.w;
    workgroupBarrier();
    if thread < PARTS {
        var total = 0.0;
        for (var i = 0u; i < WORKGROUP / PARTS; i++) {
            total += sums[thread * (WORKGROUP / PARTS) + i];
        }
        part_sums[thread] = total;
    }
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < PARTS; i++) {
        total += part_sums[i];
    }
    let scale = inverseSqrt(total / f32(HIDDEN) + EPS);
    for (var i = thread; i < VECTORS; i += WORKGROUP) {
        y[start + i] = x[start + i] * scale * weight[i];
    }
}
