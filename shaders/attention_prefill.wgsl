// Attention of several rows of one sequence: out[row, h] = sum over keys j <= place[row] of
// softmax(SCALE * q[row, h] . k[j]) * v[j], where place is the row's own number among the keys
//   0 step  array<u32> (lib/step.wgsl): step[11] points at the list of tiles (first row, number of rows up to TILE_ROWS, place of
//           the first row, first word of the page table of the sequence)
//   1 q     [rows, Q_STRIDE] f32 as vec4: heads of HEAD_DIM, rotated
//   2 kv    the layer's pages (lib/cache_*.wgsl)
//   3 out   [rows, OUT_STRIDE] f32 as vec4, heads of HEAD_DIM
// Grid: (KV_HEADS * ceil(GROUP / TILE_HEADS), tiles). A workgroup takes QUERIES = TILE_ROWS * TILE_HEADS queries (a row and a head)
// of one key-value head, padded to fours. Keys are taken CHUNK at a time with a running maximum (online softmax). An
// invocation belongs to one four of queries; it scores 4 keys against them at once, then sums one vec4 of their output,
// so that each vector loaded is used four times. Loops have the same length for all invocations, because neighbours may
// share what they load (lib/share_quad.wgsl).
// Constants: HEAD_DIM (a multiple of 4), KV_HEADS, GROUP (query heads per key-value head), SCALE, Q_STRIDE, OUT_STRIDE,
// TILE_ROWS, TILE_HEADS, CHUNK (a multiple of 16). Limits: QUERIES / 4 * HEAD_DIM / 4 invocations (at most 256), 4 * CHUNK * QUERIES
// bytes of workgroup memory and 16 for each invocation (at most 16 KiB).
@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

const FOURS = (TILE_ROWS * TILE_HEADS + 3u) / 4u;
const WORKGROUP = FOURS * VECTORS;
const HEAD_TILES = (GROUP + TILE_HEADS - 1u) / TILE_HEADS;
const KEY_FOURS = CHUNK / 4u;
// Invocations of a four of queries that have keys to score.
const SCORERS = min(VECTORS, KEY_FOURS);

// Scores, then softmax weights [CHUNK, FOURS] of four queries each.
var<workgroup> weights: array<vec4<f32>, CHUNK * FOURS>;
// [VECTORS, FOURS] maxima, at the end sums.
var<workgroup> lanes: array<vec4<f32>, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, id: InvocationId) {
    let thread = id.thread;
    let place = subgroup_thread(id) & 3u;
    let entry = step[11] + 4u * workgroup.y;
    let first_row = step[entry];
    let num_rows = step[entry + 1u];
    let first_place = step[entry + 2u];
    let table = step[entry + 3u];
    let kv_head = workgroup.x / HEAD_TILES;
    let first_in_group = workgroup.x % HEAD_TILES * TILE_HEADS;
    let num_heads = min(GROUP - first_in_group, TILE_HEADS);
    let num_queries = num_rows * num_heads;

    let four = thread / VECTORS;
    let lane = thread % VECTORS;
    // Queries past the last repeat it; what they compute is not written.
    let wanted = vec4<u32>(four * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let query = min(wanted, vec4<u32>(num_queries - 1u));
    let rows = vec4<u32>(first_row) + query / num_heads;
    let heads = vec4<u32>(kv_head * GROUP + first_in_group) + query % num_heads;
    let query_starts = rows * (Q_STRIDE / 4u) + heads * VECTORS;
    let places = vec4<u32>(first_place) + query / num_heads;
    let num_keys = first_place + num_rows;

    var largest = vec4<f32>(LOWEST);
    var total = vec4<f32>();
    var sum_a = vec4<f32>();
    var sum_b = vec4<f32>();
    var sum_c = vec4<f32>();
    var sum_d = vec4<f32>();
    for (var start = 0u; start < num_keys; start += CHUNK) {
        let keys = min(num_keys - start, CHUNK);
        var chunk_largest = vec4<f32>(LOWEST);
        // Four keys of one page at a time. The last four may reach past num_keys, but not past the page: such keys are
        // later than every query, so that the mask drops them. Invocations without keys repeat the last four.
        for (var first = 0u; first < keys; first += VECTORS * 4u) {
            let key = first + lane * 4u;
            let loaded = min(key, (keys - 1u) & ~3u);
            let page = step[table + (start + loaded) / BLOCK];
            let key_start = keys_of(page, kv_head) + loaded % BLOCK * SLOT;
            var score_0 = vec4<f32>();
            var score_1 = vec4<f32>();
            var score_2 = vec4<f32>();
            var score_3 = vec4<f32>();
            for (var i = 0u; i < VECTORS; i++) {
                let k0 = load_cached(key_start + i, i);
                let k1 = load_cached(key_start + SLOT + i, i);
                let k2 = load_cached(key_start + 2u * SLOT + i, i);
                let k3 = load_cached(key_start + 3u * SLOT + i, i);
                let q0 = load_query(query_starts.x + i, place);
                let q1 = load_query(query_starts.y + i, place);
                let q2 = load_query(query_starts.z + i, place);
                let q3 = load_query(query_starts.w + i, place);
                score_0 += vec4<f32>(product(k0, q0), product(k0, q1), product(k0, q2), product(k0, q3));
                score_1 += vec4<f32>(product(k1, q0), product(k1, q1), product(k1, q2), product(k1, q3));
                score_2 += vec4<f32>(product(k2, q0), product(k2, q1), product(k2, q2), product(k2, q3));
                score_3 += vec4<f32>(product(k3, q0), product(k3, q1), product(k3, q2), product(k3, q3));
            }
            let at = vec4<u32>(start + key);
            score_0 = select(vec4<f32>(LOWEST), score_0 * SCALE, at <= places);
            score_1 = select(vec4<f32>(LOWEST), score_1 * SCALE, at + 1u <= places);
            score_2 = select(vec4<f32>(LOWEST), score_2 * SCALE, at + 2u <= places);
            score_3 = select(vec4<f32>(LOWEST), score_3 * SCALE, at + 3u <= places);
            if key < keys {
                weights[key * FOURS + four] = score_0;
                weights[(key + 1u) * FOURS + four] = score_1;
                weights[(key + 2u) * FOURS + four] = score_2;
                weights[(key + 3u) * FOURS + four] = score_3;
            }
            chunk_largest = max(chunk_largest, max(max(score_0, score_1), max(score_2, score_3)));
        }
        lanes[lane * FOURS + four] = chunk_largest;
        workgroupBarrier();
        var new_largest = largest;
        for (var i = 0u; i < SCORERS; i++) {
            new_largest = max(new_largest, lanes[i * FOURS + four]);
        }
        let shrink = exp(largest - new_largest);
        largest = new_largest;
        total *= shrink;
        // The same keys as above, so that no barrier is needed between.
        for (var key = lane * 4u; key < keys; key += VECTORS * 4u) {
            for (var i = 0u; i < 4u; i++) {
                let weight = exp(weights[(key + i) * FOURS + four] - largest);
                weights[(key + i) * FOURS + four] = weight;
                total += weight;
            }
        }
        workgroupBarrier();
        sum_a *= shrink.x;
        sum_b *= shrink.y;
        sum_c *= shrink.z;
        sum_d *= shrink.w;
        for (var first = 0u; first < keys; first += BLOCK) {
            let page = step[table + (start + first) / BLOCK];
            let value_start = values_of(page, kv_head) + lane;
            let last = min(keys - first, BLOCK) - 1u;
            // Four keys at a time. Those past the last have no weight; the last one's value is loaded for them.
            for (var i = 0u; i <= last; i += 4u) {
                let v0 = load_cached(value_start + i * SLOT, lane);
                let v1 = load_cached(value_start + min(i + 1u, last) * SLOT, lane);
                let v2 = load_cached(value_start + min(i + 2u, last) * SLOT, lane);
                let v3 = load_cached(value_start + min(i + 3u, last) * SLOT, lane);
                let at = (first + i) * FOURS + four;
                let w0 = load_weights(at, place);
                let w1 = load_weights(at + FOURS, place);
                let w2 = load_weights(at + 2u * FOURS, place);
                let w3 = load_weights(at + 3u * FOURS, place);
                sum_a += v0 * w0.x + v1 * w1.x + v2 * w2.x + v3 * w3.x;
                sum_b += v0 * w0.y + v1 * w1.y + v2 * w2.y + v3 * w3.y;
                sum_c += v0 * w0.z + v1 * w1.z + v2 * w2.z + v3 * w3.z;
                sum_d += v0 * w0.w + v1 * w1.w + v2 * w2.w + v3 * w3.w;
            }
        }
        workgroupBarrier();
    }
    lanes[lane * FOURS + four] = total;
    workgroupBarrier();
    total = lanes[four];
    for (var i = 1u; i < SCORERS; i++) {
        total += lanes[i * FOURS + four];
    }
    let starts = rows * (OUT_STRIDE / 4u) + heads * VECTORS + vec4<u32>(lane);
    if wanted.x < num_queries {
        out[starts.x] = sum_a / total.x;
    }
    if wanted.y < num_queries {
        out[starts.y] = sum_b / total.y;
    }
    if wanted.z < num_queries {
        out[starts.z] = sum_c / total.z;
    }
    if wanted.w < num_queries {
        out[starts.w] = sum_d / total.w;
    }
}
