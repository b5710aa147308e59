// Attention of single rows: out[row, h] = sum over keys j < keys of softmax(SCALE * q[row, h] . k[j]) * v[j]
//   0 step  array<u32> (lib/step.wgsl): step[10] points at the list of rows to compute (row, its keys, first word of the page
//           table of its sequence)
//   1 q     [rows, Q_STRIDE] f32 as vec4: heads of HEAD_DIM, rotated
//   2 kv    the layer's pages (lib/cache_*.wgsl)
//   3 out   [rows, OUT_STRIDE] f32 as vec4, heads of HEAD_DIM
// Grid: (KV_HEADS * ceil(GROUP / 4), listed rows): one workgroup per up to 4 query heads of a key-value head, which share each
// load of a key and a value. Keys are taken CHUNK at a time with a running maximum (online softmax): first every invocation
// computes scores of whole keys, then one vec4 of the output for one of PARTS shares of the pages. Loops have the same length
// for all invocations, because neighbours may share what they load (lib/share_quad.wgsl).
// Constants: HEAD_DIM (a multiple of 4), KV_HEADS, GROUP (query heads per key-value head), SCALE, Q_STRIDE, OUT_STRIDE,
// WORKGROUP (at least HEAD_DIM / 4). Limits: WORKGROUP invocations, under 12 KiB of workgroup memory.
@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

const CHUNK = 512u;
const PARTS = WORKGROUP / VECTORS;
const TILES = (GROUP + 3u) / 4u;
const HEADS_IN_TILE = min(GROUP, 4u);

// Scores, then softmax weights, of each key of the chunk for the four heads; at the end the parts of the output.
var<workgroup> weights: array<vec4<f32>, CHUNK>;
var<workgroup> lanes: array<vec4<f32>, WORKGROUP>;
var<workgroup> lane_parts: array<vec4<f32>, 8>;

fn maximum_over_workgroup(thread: u32, value: vec4<f32>) -> vec4<f32> {
    lanes[thread] = value;
    workgroupBarrier();
    if thread < 8u {
        var result = lanes[thread];
        for (var i = thread + 8u; i < WORKGROUP; i += 8u) {
            result = max(result, lanes[i]);
        }
        lane_parts[thread] = result;
    }
    workgroupBarrier();
    var result = lane_parts[0];
    for (var i = 1u; i < 8u; i++) {
        result = max(result, lane_parts[i]);
    }
    return result;
}

fn sum_over_workgroup(thread: u32, value: vec4<f32>) -> vec4<f32> {
    lanes[thread] = value;
    workgroupBarrier();
    if thread < 8u {
        var result = lanes[thread];
        for (var i = thread + 8u; i < WORKGROUP; i += 8u) {
            result += lanes[i];
        }
        lane_parts[thread] = result;
    }
    workgroupBarrier();
    var result = lane_parts[0];
    for (var i = 1u; i < 8u; i++) {
        result += lane_parts[i];
    }
    return result;
}

// The head-th result of the four heads, summed over the parts, divided by the sum of weights and written.
fn write_head(thread: u32, row: u32, first_head: u32, head: u32, value: vec4<f32>, total: f32) {
    if PARTS == 1u {
        if thread < VECTORS {
            out[row * (OUT_STRIDE / 4u) + (first_head + head) * VECTORS + thread] = value / total;
        }
        return;
    }
    weights[thread] = value;
    workgroupBarrier();
    if thread < VECTORS {
        var result = weights[thread];
        for (var part = 1u; part < PARTS; part++) {
            result += weights[part * VECTORS + thread];
        }
        out[row * (OUT_STRIDE / 4u) + (first_head + head) * VECTORS + thread] = result / total;
    }
    workgroupBarrier();
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, id: InvocationId) {
    let thread = id.thread;
    let place = subgroup_thread(id) & 3u;
    let entry = step[10] + 3u * workgroup.y;
    let row_index = step[entry];
    let num_keys = step[entry + 1u];
    let table = step[entry + 2u];
    let kv_head = workgroup.x / TILES;
    let first_in_group = workgroup.x % TILES * 4u;
    let num_heads = min(GROUP - first_in_group, 4u);
    let first_head = kv_head * GROUP + first_in_group;
    // Heads past the last repeat it; what they compute is not written.
    let queries = vec4<u32>(row_index * (Q_STRIDE / 4u))
        + (vec4<u32>(first_head) + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(num_heads - 1u))) * VECTORS;

    let part = thread / VECTORS;
    let lane = thread % VECTORS;
    var largest = vec4<f32>(LOWEST);
    var total = vec4<f32>();
    var sum_a = vec4<f32>();
    var sum_b = vec4<f32>();
    var sum_c = vec4<f32>();
    var sum_d = vec4<f32>();
    for (var start = 0u; start < num_keys; start += CHUNK) {
        let keys = min(num_keys - start, CHUNK);
        var chunk_largest = vec4<f32>(LOWEST);
        for (var first = 0u; first < keys; first += WORKGROUP) {
            let key = first + thread;
            // Invocations without a key repeat the last one.
            let loaded = min(key, keys - 1u);
            let page = step[table + (start + loaded) / BLOCK];
            let key_start = keys_of(page, kv_head) + loaded % BLOCK * SLOT;
            var score = vec4<f32>();
            for (var i = 0u; i < VECTORS; i++) {
                let k = load_cached(key_start + i, i);
                score.x += product(k, load_query(queries.x + i, place));
                if HEADS_IN_TILE > 1u {
                    score.y += product(k, load_query(queries.y + i, place));
                }
                if HEADS_IN_TILE > 2u {
                    score.z += product(k, load_query(queries.z + i, place));
                }
                if HEADS_IN_TILE > 3u {
                    score.w += product(k, load_query(queries.w + i, place));
                }
            }
            score *= SCALE;
            chunk_largest = max(chunk_largest, score);
            if key < keys {
                weights[key] = score;
            }
        }
        let new_largest = max(largest, maximum_over_workgroup(thread, chunk_largest));
        let shrink = exp(largest - new_largest);
        largest = new_largest;
        total *= shrink;
        for (var key = thread; key < keys; key += WORKGROUP) {
            let weight = exp(weights[key] - largest);
            weights[key] = weight;
            total += weight;
        }
        workgroupBarrier();
        sum_a *= shrink.x;
        sum_b *= shrink.y;
        sum_c *= shrink.z;
        sum_d *= shrink.w;
        for (var pages = 0u; pages < keys; pages += PARTS * BLOCK) {
            let first = pages + part * BLOCK;
            let page = step[table + (start + min(first, keys - 1u)) / BLOCK];
            let value_start = values_of(page, kv_head) + lane;
            // Four keys at a time. Past the last one: its value, without weight.
            for (var i = 0u; i < min(keys - pages, BLOCK); i += 4u) {
                let key = vec4<u32>(first + i) + vec4<u32>(0u, 1u, 2u, 3u);
                let loaded = min(key, vec4<u32>(keys - 1u));
                let slot = loaded % BLOCK * SLOT;
                let counts = select(vec4<f32>(), vec4<f32>(1.0), key < vec4<u32>(select(0u, keys, part < PARTS)));
                let v0 = load_cached(value_start + slot.x, lane);
                let v1 = load_cached(value_start + slot.y, lane);
                let v2 = load_cached(value_start + slot.z, lane);
                let v3 = load_cached(value_start + slot.w, lane);
                let w0 = load_weights(loaded.x, place) * counts.x;
                let w1 = load_weights(loaded.y, place) * counts.y;
                let w2 = load_weights(loaded.z, place) * counts.z;
                let w3 = load_weights(loaded.w, place) * counts.w;
                sum_a += v0 * w0.x + v1 * w1.x + v2 * w2.x + v3 * w3.x;
                if HEADS_IN_TILE > 1u {
                    sum_b += v0 * w0.y + v1 * w1.y + v2 * w2.y + v3 * w3.y;
                }
                if HEADS_IN_TILE > 2u {
                    sum_c += v0 * w0.z + v1 * w1.z + v2 * w2.z + v3 * w3.z;
                }
                if HEADS_IN_TILE > 3u {
                    sum_d += v0 * w0.w + v1 * w1.w + v2 * w2.w + v3 * w3.w;
                }
            }
        }
        workgroupBarrier();
    }
    total = sum_over_workgroup(thread, total);
    write_head(thread, row_index, first_head, 0u, sum_a, total.x);
    if num_heads > 1u {
        write_head(thread, row_index, first_head, 1u, sum_b, total.y);
    }
    if num_heads > 2u {
        write_head(thread, row_index, first_head, 2u, sum_c, total.z);
    }
    if num_heads > 3u {
        write_head(thread, row_index, first_head, 3u, sum_d, total.w);
    }
}
