// First half of the sampler: logits as they are sampled, and the best token of each chunk.
//
//   l = logits[i, t] (+ bias[slot, t]); with n = counts[slot, t]: l = l > 0 ? l / repetition : l * repetition where n > 0,
//   l -= frequency * n + presence * (n > 0). Not-a-number becomes the lowest number, infinities the extreme numbers.
//
// Bindings
//   step      [..] u32           the step's plan (lib/step.wgsl)
//   counts    [slots, VOCAB] u32 how often a slot generated a token; read only where the sample's flags say so
//   bias      [slots, VOCAB] f32 likewise
//   logits    [samples, LOGITS_STRIDE] f32, rewritten in place
//   partials  [samples, CHUNKS] (best logit as f32 bits, its token id) u32 pairs
// Grid: (CHUNKS, samples): one workgroup per CHUNK_TOKENS tokens of a sample.
// Constants: VOCAB, LOGITS_STRIDE, CHUNKS, CHUNK_TOKENS, WORKGROUP. Limits: WORKGROUP invocations, 8 bytes of workgroup memory
// for each.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> counts: array<u32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> logits: array<f32>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec2<u32>>;

var<workgroup> best_logits: array<f32, WORKGROUP>;
var<workgroup> best_tokens: array<u32, WORKGROUP>;

fn finite(value: f32) -> f32 {
    let bits = bitcast<u32>(value);
    if (bits << 1u) == 0u {
        // -0 becomes 0, so that equal numbers have equal bits. (Adding 0 would do, but compilers leave it out.)
        return 0.0;
    }
    if (bits & 0x7f800000u) != 0x7f800000u {
        return value;
    }
    return select(-LARGEST, LARGEST, bits == 0x7f800000u);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let sample = load_sample(workgroup.y);
    let table = sample.slot * VOCAB;
    let first = workgroup.x * CHUNK_TOKENS;
    let end = min(first + CHUNK_TOKENS, VOCAB);
    var best = -LARGEST;
    var best_token = VOCAB;
    for (var token = first + thread; token < end; token += WORKGROUP) {
        let at = workgroup.y * LOGITS_STRIDE + token;
        var logit = logits[at];
        if (sample.flags & FLAG_BIAS) != 0u {
            logit += bias[table + token];
        }
        if (sample.flags & FLAG_PENALTIES) != 0u {
            let count = counts[table + token];
            if count > 0u {
                logit = select(logit * sample.repetition, logit / sample.repetition, logit > 0.0);
                logit -= sample.frequency * f32(count) + sample.presence;
            }
        }
        logit = finite(logit);
        logits[at] = logit;
        if logit > best || best_token == VOCAB {
            best = logit;
            best_token = token;
        }
    }
    best_logits[thread] = best;
    best_tokens[thread] = best_token;
    workgroupBarrier();
    if thread == 0u {
        for (var i = 1u; i < WORKGROUP; i++) {
            let logit = best_logits[i];
            let token = best_tokens[i];
            if token < VOCAB && (logit > best || (logit == best && token < best_token)) {
                best = logit;
                best_token = token;
            }
        }
        partials[workgroup.y * CHUNKS + workgroup.x] = vec2<u32>(bitcast<u32>(best), best_token);
    }
}
