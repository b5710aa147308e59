//! Progress of a load, in web-llm's words: pages show these texts and some match on them.

use serde::{Deserialize, Serialize};

const BYTES_PER_MEBIBYTE: f64 = 1024.0 * 1024.0;

/// One report to a page's `initProgressCallback`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct InitProgressReport {
    /// Part done of the current phase, 0 to 1.
    pub progress: f64,
    /// Seconds since the phase began.
    pub time_elapsed: f64,
    /// For people.
    pub text: String,
}

/// How far the fetching or loading of a model's pieces has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PieceProgress {
    /// Pieces done.
    pub pieces_done: u32,
    /// Pieces in all.
    pub pieces_total: u32,
    /// Bytes done.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
    /// Since the phase began.
    pub elapsed_s: f64,
}

impl PieceProgress {
    fn fraction(&self) -> f64 {
        if self.bytes_total == 0 { 1.0 } else { (self.bytes_done as f64 / self.bytes_total as f64).min(1.0) }
    }

    /// `[i/n]: XMB <verb>. P% completed, T secs elapsed.`
    fn counts(&self, verb: &str) -> String {
        format!(
            "[{}/{}]: {}MB {verb}. {}% completed, {} secs elapsed.",
            self.pieces_done,
            self.pieces_total,
            (self.bytes_done as f64 / BYTES_PER_MEBIBYTE).ceil(),
            (self.fraction() * 100.0).floor(),
            self.elapsed_s.ceil(),
        )
    }
}

impl InitProgressReport {
    /// Before anything is fetched.
    pub fn start() -> Self {
        Self { progress: 0.0, time_elapsed: 0.0, text: "Start to fetch params".to_owned() }
    }

    /// While weights come over the network.
    pub fn fetching(at: PieceProgress) -> Self {
        let text = format!(
            "Fetching param cache{} It can take a while when we first visit this page to populate the cache. \
             Later refreshes will become faster.",
            at.counts("fetched")
        );
        Self { progress: at.fraction(), time_elapsed: at.elapsed_s.ceil(), text }
    }

    /// While weights go to the GPU.
    pub fn loading(at: PieceProgress) -> Self {
        let text = format!("Loading model from cache{}", at.counts("loaded"));
        Self { progress: at.fraction(), time_elapsed: at.elapsed_s.ceil(), text }
    }

    /// While pipelines are made.
    pub fn shaders(shaders_done: u32, shaders_total: u32, elapsed_s: f64) -> Self {
        let progress =
            if shaders_total == 0 { 1.0 } else { f64::from(shaders_done) / f64::from(shaders_total) };
        let time_elapsed = elapsed_s.ceil();
        let text = format!(
            "Loading GPU shader modules[{shaders_done}/{shaders_total}]: {}% completed, {time_elapsed} secs elapsed.",
            (progress * 100.0).floor(),
        );
        Self { progress, time_elapsed, text }
    }

    /// The model is ready. `device` is the adapter's description, or its vendor where there is none.
    pub fn finish(device: &str, elapsed_s: f64) -> Self {
        Self { progress: 1.0, time_elapsed: elapsed_s, text: format!("Finish loading on WebGPU - {device}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_web_llm() {
        let at = PieceProgress {
            pieces_done: 2,
            pieces_total: 5,
            bytes_done: 1_500_000,
            bytes_total: 4_000_000,
            elapsed_s: 2.2,
        };
        assert_eq!(InitProgressReport::start().text, "Start to fetch params");
        let fetching = InitProgressReport::fetching(at);
        assert_eq!(
            fetching.text,
            "Fetching param cache[2/5]: 2MB fetched. 37% completed, 3 secs elapsed. It can take a while when we first \
             visit this page to populate the cache. Later refreshes will become faster."
        );
        assert_eq!(fetching.progress, 0.375);
        assert_eq!(
            InitProgressReport::loading(at).text,
            "Loading model from cache[2/5]: 2MB loaded. 37% completed, 3 secs elapsed."
        );
        assert_eq!(
            InitProgressReport::shaders(3, 4, 0.1).text,
            "Loading GPU shader modules[3/4]: 75% completed, 1 secs elapsed."
        );
        assert_eq!(InitProgressReport::finish("apple", 1.25).text, "Finish loading on WebGPU - apple");
    }

    #[test]
    fn nothing_to_do_is_all_done() {
        let at =
            PieceProgress { pieces_done: 0, pieces_total: 0, bytes_done: 0, bytes_total: 0, elapsed_s: 0.0 };
        assert_eq!(InitProgressReport::loading(at).progress, 1.0);
        assert_eq!(InitProgressReport::shaders(0, 0, 0.0).progress, 1.0);
    }

    #[test]
    fn keys_are_those_of_web_llm() {
        let json = serde_json::to_value(InitProgressReport::start()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"progress": 0.0, "timeElapsed": 0.0, "text": "Start to fetch params"})
        );
    }
}
