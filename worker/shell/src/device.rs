//! The one GPU device of this worker: asked for once, shared by all models, asked for again after it was lost.

use futures::lock::Mutex;
use hearth_gpu::{Fault, Gpu, GpuError, GpuOptions};

use crate::log::Logger;

/// Gives out the device.
pub struct SharedDevice {
    /// Held while asking, so that two loads at once get the same device.
    gpu: Mutex<Option<Gpu>>,
    log: Logger,
}

impl SharedDevice {
    /// Nothing is asked for yet.
    pub fn new(log: Logger) -> Self {
        Self { gpu: Mutex::new(None), log }
    }

    /// The device.
    ///
    /// # Errors
    /// Those of [`Gpu::request`].
    pub async fn get(&self) -> Result<Gpu, GpuError> {
        let mut slot = self.gpu.lock().await;
        if let Some(gpu) = slot.as_ref() {
            // A device that failed without being lost refuses every later step: everything on it is to be let go.
            match gpu.fault() {
                None => return Ok(gpu.clone()),
                Some(Fault::Lost(reason)) => self.log.warn(&format!("the GPU device was lost: {reason}")),
                Some(Fault::Error(reason)) => {
                    self.log.error(&format!("the GPU failed: {reason}; a new device is asked for"));
                    gpu.destroy();
                }
            }
        }
        let gpu = Gpu::request(GpuOptions::default()).await?;
        self.log.info(&format!("GPU: {}", gpu.description()));
        *slot = Some(gpu.clone());
        Ok(gpu)
    }
}
