//! A load's progress in web-llm's words, to everyone who waits for it. Knows no model and no message.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hearth_engine::ports::Clock;
use hearth_protocol::progress::{InitProgressReport, PieceProgress};

use crate::store::SourceProgress;

/// At most ten reports a second: a page draws each of them.
const REPORT_INTERVAL_MS: f64 = 100.0;

/// Composes reports and hands them on.
pub struct LoadReporter {
    clock: Rc<dyn Clock>,
    started_ms: f64,
    last_report_ms: Cell<f64>,
    fetched: Cell<Option<SourceProgress>>,
    /// What the user should know besides, such as that nothing is kept.
    notice: RefCell<Option<String>>,
    /// The last report, for a notice that comes after it.
    last_report: RefCell<InitProgressReport>,
    send: Box<dyn Fn(InitProgressReport)>,
}

impl LoadReporter {
    /// The load begins now; `send` gets each report.
    pub fn new(clock: Rc<dyn Clock>, send: Box<dyn Fn(InitProgressReport)>) -> Self {
        let started_ms = clock.now_ms();
        let start = InitProgressReport::start();
        let reporter = Self {
            last_report: RefCell::new(start.clone()),
            clock,
            started_ms,
            last_report_ms: Cell::new(f64::NEG_INFINITY),
            fetched: Cell::new(None),
            notice: RefCell::default(),
            send,
        };
        (reporter.send)(start);
        reporter
    }

    /// Adds a notice to all texts from now on, but for the last one, which apps compare with web-llm's. The last report is sent
    /// again with it: there may be no other.
    pub fn notice(&self, text: String) {
        *self.notice.borrow_mut() = Some(text);
        let last = self.last_report.borrow().clone();
        self.report(last);
    }

    /// Bytes arrived from the network.
    pub fn fetched(&self, at: SourceProgress) {
        // Until the file's length is known there is no part of it to report.
        if at.total_bytes == 0 {
            return;
        }
        let is_all = at.available_bytes >= at.total_bytes;
        self.fetched.set(Some(at));
        if self.is_due() || is_all {
            self.report(InitProgressReport::fetching(PieceProgress {
                pieces_done: at.available_chunks,
                pieces_total: at.total_chunks,
                bytes_done: at.available_bytes,
                bytes_total: at.total_bytes,
                elapsed_s: self.elapsed_s(),
            }));
        }
    }

    /// Weights arrived on the GPU, in a file of `total_chunks` pieces. While the network is what is waited for, its
    /// progress is what pages see.
    pub fn loaded(&self, bytes_done: u64, bytes_total: u64, total_chunks: u32) {
        let is_fetching = self.fetched.get().is_some_and(|at| at.available_bytes < at.total_bytes);
        let is_all = bytes_done >= bytes_total;
        if is_fetching || !(self.is_due() || is_all) {
            return;
        }
        let fraction = if bytes_total == 0 { 1.0 } else { bytes_done as f64 / bytes_total as f64 };
        self.report(InitProgressReport::loading(PieceProgress {
            pieces_done: (fraction * f64::from(total_chunks)) as u32,
            pieces_total: total_chunks,
            bytes_done,
            bytes_total,
            elapsed_s: self.elapsed_s(),
        }));
    }

    /// The model is ready.
    pub fn finished(&self, device: &str) {
        (self.send)(InitProgressReport::finish(device, self.elapsed_s()));
    }

    /// Seconds since the load began.
    pub fn elapsed_s(&self) -> f64 {
        (self.clock.now_ms() - self.started_ms) / 1000.0
    }

    fn is_due(&self) -> bool {
        self.clock.now_ms() - self.last_report_ms.get() >= REPORT_INTERVAL_MS
    }

    fn report(&self, report: InitProgressReport) {
        self.last_report_ms.set(self.clock.now_ms());
        let mut sent = report.clone();
        *self.last_report.borrow_mut() = report;
        if let Some(notice) = &*self.notice.borrow() {
            sent.text = format!("{} Note: {notice}.", sent.text);
        }
        (self.send)(sent);
    }
}
