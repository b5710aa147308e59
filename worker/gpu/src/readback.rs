//! Small buffers that bring results back to the host, reused from step to step.

use std::cell::RefCell;
use std::rc::Rc;

use futures::channel::oneshot;
use hearth_engine::ports::ExecutorError;

use crate::device::{Fault, Gpu};
use crate::error::GpuError;

/// A pool of mappable buffers of one size.
#[derive(Debug, Clone)]
pub(crate) struct ReadbackRing {
    free: Rc<RefCell<Vec<wgpu::Buffer>>>,
    bytes: u64,
}

/// A buffer from the ring while a step is in flight. Dropped, it goes back, mapped or not.
#[derive(Debug)]
pub(crate) struct Readback {
    buffer: wgpu::Buffer,
    ring: ReadbackRing,
    mapping: bool,
}

impl ReadbackRing {
    /// A ring with `count` buffers to begin with: as many as steps are in flight.
    pub fn new(gpu: &Gpu, bytes: u64, count: usize) -> Self {
        let ring = Self { free: Rc::default(), bytes: bytes.next_multiple_of(16) };
        let buffers = (0..count).map(|_| ring.create(gpu)).collect();
        ring.free.replace(buffers);
        ring
    }

    fn create(&self, gpu: &Gpu) -> wgpu::Buffer {
        gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: self.bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// A free buffer; a new one when more steps are in flight than ever before.
    pub fn take(&self, gpu: &Gpu) -> Readback {
        let free = self.free.borrow_mut().pop();
        let buffer = free.unwrap_or_else(|| self.create(gpu));
        Readback { buffer, ring: self.clone(), mapping: false }
    }
}

impl Readback {
    /// What the copy goes into.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Starts mapping after the submission that fills the buffer; the future gives its first `bytes` bytes.
    pub fn map(
        mut self,
        gpu: &Gpu,
        submission: wgpu::SubmissionIndex,
        bytes: u64,
    ) -> impl Future<Output = Result<Vec<u8>, ExecutorError>> + use<> {
        let (sender, receiver) = oneshot::channel();
        self.mapping = true;
        self.buffer.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver is gone when nobody wants the result any more.
            let _ = sender.send(result);
        });
        let gpu = gpu.clone();
        let mut readback = self;
        async move {
            // A submission that the device refused never ends.
            if let Some(error) = fault_error(&gpu) {
                return Err(error);
            }
            gpu.wait_native(Some(submission));
            match receiver.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    readback.forget_mapping();
                    return Err(
                        fault_error(&gpu).unwrap_or(ExecutorError::Device { reason: error.to_string() })
                    );
                }
                Err(_) => {
                    let reason = "the device dropped a pending map".to_owned();
                    return Err(fault_error(&gpu).unwrap_or(ExecutorError::DeviceLost { reason }));
                }
            }
            let view = readback
                .buffer
                .slice(..bytes)
                .get_mapped_range()
                .map_err(|error| ExecutorError::Device { reason: error.to_string() })?;
            let data = view.to_vec();
            drop(view);
            Ok(data)
        }
    }
}

impl Readback {
    /// The map failed: there is nothing to unmap.
    fn forget_mapping(&mut self) {
        self.mapping = false;
    }
}

impl Drop for Readback {
    fn drop(&mut self) {
        if self.mapping {
            self.buffer.unmap();
        }
        self.ring.free.borrow_mut().push(self.buffer.clone());
    }
}

/// What went wrong between steps, as an executor's error.
pub(crate) fn executor_error(error: GpuError) -> ExecutorError {
    match error {
        GpuError::Lost { reason } => ExecutorError::DeviceLost { reason },
        error => ExecutorError::Device { reason: error.to_string() },
    }
}

/// The device's fault as an executor's error, if it has one.
pub(crate) fn fault_error(gpu: &Gpu) -> Option<ExecutorError> {
    gpu.fault().map(|fault| match fault {
        Fault::Lost(reason) => ExecutorError::DeviceLost { reason },
        Fault::Error(reason) => ExecutorError::Device { reason },
    })
}
