// Second half of the sampler: one token per sample.
//
// Temperature 0: the best token, the lowest id among equals. Otherwise tokens are ordered by (logit descending, id
// ascending) and weigh exp((l - max) / temperature). top_k keeps the first k; top_p the first whose weight reaches
// top_p of what top_k kept; the draw takes the first token at which the cumulative weight is above draw * kept.
//
// Nothing is sorted. Each of the three cuts is a search for a level of the logit: the highest level at which the tokens
// on or above it weigh (or number) at least the target. Levels are compared in the integer order of floats, not as floats: the
// level after 0 is a subnormal number, which many GPUs take for 0. A pass over the logits tries 8 levels, and the search ends when one token, or only equal logits, are left between two of them.
//
// Bindings
//   step      [..] u32           the step's plan (lib/step.wgsl, lib/sample.wgsl)
//   logits    [samples, LOGITS_STRIDE] f32 as vec4, finite, from sample_prepare
//   partials  [samples, CHUNKS] (best logit as f32 bits, its token id)
//   counts    [slots, VOCAB] u32 incremented for the token where the sample has penalties
//   sampled   [slots] u32        the slot's last token, read by the next step's embedding
//   tokens    [samples] u32      what goes back to the host
// Grid: (samples): one workgroup per sample.
// Constants: VOCAB, LOGITS_STRIDE (a multiple of 4), CHUNKS, WORKGROUP (a multiple of 8, 16 .. 128). Limits: WORKGROUP
// invocations, under 10 KiB of workgroup memory.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> partials: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;
@group(0) @binding(4) var<storage, read_write> sampled: array<u32>;
@group(0) @binding(5) var<storage, read_write> tokens: array<u32>;

const VECTORS = (VOCAB + 3u) / 4u;
// Bounds of every loop; each pass cuts the range of levels to a ninth, and 9^11 > 2^32.
const MAX_PASSES = 12u;

// A set of tokens by its weight and number.
struct Amount {
    weight: f32,
    number: f32,
}

// Tokens with low <= key < high are one token or all equal. Amounts of tokens on or above low, and on or above high.
struct Cut {
    low: u32,
    high: u32,
    at: Amount,
    above: Amount,
}

var<workgroup> sums: array<vec4<f32>, 4u * WORKGROUP>;
var<workgroup> part_sums: array<vec4<f32>, 16>;
var<workgroup> amounts: array<vec4<f32>, 4>;
// `amounts` of the first pass, which is the same for every search.
var<workgroup> first_amounts: array<vec4<f32>, 4>;
var<workgroup> best: vec2<u32>;
var<workgroup> cut: Cut;
var<workgroup> nth_bounds: vec2<u32>;
var<workgroup> chosen: atomic<u32>;

// Unsigned integers in the order of the floats.
fn key_of(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn value_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, (key >> 31u) == 1u));
}

// The i-th of the 8 levels of a pass, ascending.
fn level_of(first_pass: bool, index: u32, low: u32, high: u32, maximum: f32, temperature: f32) -> u32 {
    if first_pass {
        // Where softmax weight usually lies, in temperatures below the maximum.
        const depths = array<f32, 8>(3.4e38, 14.0, 10.0, 7.0, 4.5, 2.5, 1.2, 0.4);
        if index == 0u {
            return key_of(-LARGEST);
        }
        return key_of(max(maximum - depths[index] * temperature, -LARGEST));
    }
    let width = high - low;
    return low + select(min(index + 1u, width - 1u), width / 9u * (index + 1u), width >= 9u);
}

// Sums four vectors over the workgroup into `amounts`.
fn sum_over_workgroup(thread: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) {
    sums[thread] = a;
    sums[WORKGROUP + thread] = b;
    sums[2u * WORKGROUP + thread] = c;
    sums[3u * WORKGROUP + thread] = d;
    workgroupBarrier();
    if thread < 16u {
        var total = vec4<f32>();
        for (var i = 0u; i < WORKGROUP / 4u; i++) {
            total += sums[thread * (WORKGROUP / 4u) + i];
        }
        part_sums[thread] = total;
    }
    workgroupBarrier();
    if thread < 4u {
        var total = vec4<f32>();
        for (var i = 0u; i < 4u; i++) {
            total += part_sums[thread * 4u + i];
        }
        amounts[thread] = total;
    }
    workgroupBarrier();
}

fn four_levels(first_pass: bool, first: u32, low: u32, high: u32, maximum: f32, temperature: f32) -> vec4<u32> {
    return vec4<u32>(
        level_of(first_pass, first, low, high, maximum, temperature),
        level_of(first_pass, first + 1u, low, high, maximum, temperature),
        level_of(first_pass, first + 2u, low, high, maximum, temperature),
        level_of(first_pass, first + 3u, low, high, maximum, temperature),
    );
}

// Weighs and counts the tokens on or above each of 8 levels.
fn measure(thread: u32, row: u32, first_pass: bool, low: u32, high: u32, maximum: f32, temperature: f32) {
    let levels_a = four_levels(first_pass, 0u, low, high, maximum, temperature);
    let levels_b = four_levels(first_pass, 4u, low, high, maximum, temperature);
    var weight_a = vec4<f32>();
    var weight_b = vec4<f32>();
    var number_a = vec4<f32>();
    var number_b = vec4<f32>();
    for (var i = thread; i < VECTORS; i += WORKGROUP) {
        let four = logits[row + i];
        for (var j = 0u; j < 4u; j++) {
            let logit = four[j];
            let exists = i * 4u + j < VOCAB;
            let number = select(0.0, 1.0, exists);
            // What pads a row may be no number: it is not to be multiplied.
            let weight = select(0.0, exp((logit - maximum) / temperature), exists);
            let key = key_of(logit);
            let in_a = vec4<u32>(key) >= levels_a;
            let in_b = vec4<u32>(key) >= levels_b;
            weight_a += select(vec4<f32>(), vec4<f32>(weight), in_a);
            weight_b += select(vec4<f32>(), vec4<f32>(weight), in_b);
            number_a += select(vec4<f32>(), vec4<f32>(number), in_a);
            number_b += select(vec4<f32>(), vec4<f32>(number), in_b);
        }
    }
    sum_over_workgroup(thread, weight_a, weight_b, number_a, number_b);
}

// Narrows `range` to the two neighbouring levels between which the amount passes the target.
fn narrow(range: Cut, first_pass: bool, by_number: bool, goal: f32, maximum: f32, temperature: f32) -> Cut {
    var result = range;
    for (var i = 0u; i < 8u; i++) {
        let key = level_of(first_pass, i, range.low, range.high, maximum, temperature);
        let amount = Amount(amounts[i / 4u][i % 4u], amounts[2u + i / 4u][i % 4u]);
        if select(amount.weight, amount.number, by_number) >= goal {
            result.low = key;
            result.at = amount;
        } else {
            result.high = key;
            result.above = amount;
            break;
        }
    }
    return result;
}

// The highest level at which the amount reaches the goal. All threads call it with the same arguments.
fn find_cut(thread: u32, row: u32, whole: Cut, by_number: bool, goal: f32, maximum: f32, temperature: f32) -> Cut {
    if thread == 0u {
        cut = whole;
    }
    for (var pass_index = 0u; pass_index < MAX_PASSES; pass_index++) {
        let range = workgroupUniformLoad(&cut);
        if range.high - range.low <= 1u || range.at.number - range.above.number <= 1.5 {
            break;
        }
        let first_pass = pass_index == 0u;
        if !first_pass {
            measure(thread, row, false, range.low, range.high, maximum, temperature);
        }
        if thread == 0u {
            if first_pass {
                amounts = first_amounts;
            }
            cut = narrow(range, first_pass, by_number, goal, maximum, temperature);
        }
    }
    return workgroupUniformLoad(&cut);
}

// How many of a cut's equal tokens it takes to bring the weight to the goal.
fn equals_needed(found: Cut, goal: f32, weight: f32) -> f32 {
    let number = found.at.number - found.above.number;
    return clamp(ceil((goal - found.above.weight) / max(weight, 1e-37)), 1.0, max(number, 1.0));
}

// The weight of each of a cut's tokens.
fn weight_in(found: Cut, maximum: f32, temperature: f32) -> f32 {
    if found.high - found.low <= 1u {
        return exp((value_of(found.low) - maximum) / temperature);
    }
    return found.at.weight - found.above.weight;
}

fn is_in(found: Cut, logit: f32) -> bool {
    let key = key_of(logit);
    return key >= found.low && key < found.high;
}

// The token with the rank-th lowest id (from 1) among those of the cut.
fn find_nth(thread: u32, row: u32, found: Cut, rank: f32) -> u32 {
    if thread == 0u {
        atomicStore(&chosen, VOCAB);
        nth_bounds = vec2<u32>(0u, VOCAB - 1u);
    }
    // Narrow the ids until one is left: the first bound below which `rank` of them lie.
    if found.at.number - found.above.number > 1.5 {
        for (var pass_index = 0u; pass_index < MAX_PASSES; pass_index++) {
            let bounds = workgroupUniformLoad(&nth_bounds);
            if bounds.x >= bounds.y {
                break;
            }
            let width = max((bounds.y - bounds.x + 7u) / 8u, 1u);
            let ends_a = vec4<u32>(bounds.x) + vec4<u32>(1u, 2u, 3u, 4u) * width;
            let ends_b = ends_a + vec4<u32>(4u * width);
            var number_a = vec4<f32>();
            var number_b = vec4<f32>();
            for (var i = thread; i < VECTORS; i += WORKGROUP) {
                let four = logits[row + i];
                for (var j = 0u; j < 4u; j++) {
                    let token = i * 4u + j;
                    let equal = select(0.0, 1.0, is_in(found, four[j]) && token < VOCAB);
                    number_a += select(vec4<f32>(), vec4<f32>(equal), vec4<u32>(token) < ends_a);
                    number_b += select(vec4<f32>(), vec4<f32>(equal), vec4<u32>(token) < ends_b);
                }
            }
            sum_over_workgroup(thread, number_a, number_b, vec4<f32>(), vec4<f32>());
            if thread == 0u {
                var step_index = 0u;
                while step_index < 7u && amounts[step_index / 4u][step_index % 4u] < rank {
                    step_index++;
                }
                let first = bounds.x + step_index * width;
                nth_bounds = vec2<u32>(first, min(first + width - 1u, bounds.y));
            }
        }
    }
    let from_token = workgroupUniformLoad(&nth_bounds).x;
    for (var i = thread; i < VECTORS; i += WORKGROUP) {
        let four = logits[row + i];
        for (var j = 0u; j < 4u; j++) {
            let token = i * 4u + j;
            if is_in(found, four[j]) && token >= from_token && token < VOCAB {
                atomicMin(&chosen, token);
            }
        }
    }
    workgroupBarrier();
    return atomicLoad(&chosen);
}

fn find_best(thread: u32, index: u32) {
    if thread == 0u {
        var found = partials[index * CHUNKS];
        for (var i = 1u; i < CHUNKS; i++) {
            let candidate = partials[index * CHUNKS + i];
            if bitcast<f32>(candidate.x) > bitcast<f32>(found.x) {
                found = candidate;
            }
        }
        best = found;
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let index = workgroup.x;
    let row = index * (LOGITS_STRIDE / 4u);
    let sample = load_sample(index);
    find_best(thread, index);
    let found = workgroupUniformLoad(&best);
    var token = found.y;
    let temperature = sample.temperature;
    if temperature > 0.0 {
        let maximum = bitcast<f32>(found.x);
        let whole = Cut(key_of(-LARGEST), key_of(maximum) + 1u, Amount(0.0, f32(VOCAB)), Amount(0.0, 0.0));
        measure(thread, row, true, whole.low, whole.high, maximum, temperature);
        if thread == 0u {
            first_amounts = amounts;
        }
        // The lowest level of the first pass has all tokens on or above it.
        var kept = amounts[0].x;
        workgroupBarrier();
        if sample.top_k > 0u && sample.top_k < VOCAB {
            let k = f32(sample.top_k);
            let last = find_cut(thread, row, whole, true, k, maximum, temperature);
            kept = last.above.weight + (k - last.above.number) * weight_in(last, maximum, temperature);
        }
        if sample.top_p < 1.0 {
            let goal = max(sample.top_p * kept, 1e-30);
            let last = find_cut(thread, row, whole, false, goal, maximum, temperature);
            let weight = weight_in(last, maximum, temperature);
            kept = min(kept, last.above.weight + equals_needed(last, goal, weight) * weight);
        }
        // The next number up: the cumulative weight must be above the draw, not only reach it.
        let goal = bitcast<f32>(bitcast<u32>(max(sample.draw * kept, 1e-30)) + 1u);
        let last = find_cut(thread, row, whole, false, goal, maximum, temperature);
        let rank = equals_needed(last, goal, weight_in(last, maximum, temperature));
        let drawn = find_nth(thread, row, last, rank);
        // Not found only where the device's arithmetic is out of order; then the best token.
        token = select(token, drawn, drawn < VOCAB);
    }
    if thread == 0u {
        token = min(token, VOCAB - 1u);
        sampled[sample.slot] = token;
        tokens[index] = token;
        if (sample.flags & FLAG_PENALTIES) != 0u {
            counts[sample.slot * VOCAB + token] += 1u;
        }
    }
}
