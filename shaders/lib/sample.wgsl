// One entry of the step's list of samples. Needs: step (storage), step.wgsl (samples_start).

const LARGEST = 3.4028234e38;
const SAMPLE_WORDS = 12u;
const FLAG_PENALTIES = 1u;
const FLAG_BIAS = 2u;

struct Sample {
    slot: u32,
    flags: u32,
    temperature: f32, // 0: take the best token
    top_k: u32,       // 0: all
    top_p: f32,
    repetition: f32,
    frequency: f32,
    presence: f32,
    draw: f32,        // in [0, 1)
}

fn load_sample(index: u32) -> Sample {
    let at = step[8] + index * SAMPLE_WORDS;
    return Sample(
        step[at + 1u],
        step[at + 2u],
        bitcast<f32>(step[at + 3u]),
        step[at + 4u],
        bitcast<f32>(step[at + 5u]),
        bitcast<f32>(step[at + 6u]),
        bitcast<f32>(step[at + 7u]),
        bitcast<f32>(step[at + 8u]),
        bitcast<f32>(step[at + 9u]),
    );
}
