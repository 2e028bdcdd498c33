//! What both engines share: a loaded network, and threads to run it on.

use super::SpeechError;
use parking_lot::Mutex;
use rten::{Model, NodeId, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::{Tensor, prelude::*};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A network from a file.
pub(super) struct Network {
    name: &'static str,
    path: PathBuf,
    model: Model,
}

impl Network {
    pub(super) fn load(name: &'static str, path: PathBuf) -> Result<Self, SpeechError> {
        let data = read(&path)?;
        let model = Model::load(data).map_err(|e| SpeechError::Load { path: path.clone(), detail: e.to_string() })?;
        Ok(Self { name, path, model })
    }

    /// The id of an input or output; that it exists is checked once, at load.
    pub(super) fn node(&self, name: &str) -> Result<NodeId, SpeechError> {
        self.model.node_id(name).map_err(|e| SpeechError::Load { path: self.path.clone(), detail: e.to_string() })
    }

    pub(super) fn run(
        &self,
        inputs: Vec<(NodeId, ValueOrView<'_>)>,
        outputs: &[NodeId],
        lane: &Arc<ThreadPool>,
    ) -> Result<Vec<Value>, SpeechError> {
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(lane)));
        self.model.run(inputs, outputs, Some(options)).map_err(|e| self.failed(e))
    }

    pub(super) fn tensor(&self, value: Option<Value>) -> Result<Tensor<f32>, SpeechError> {
        value.ok_or_else(|| self.failed("an output is missing"))?.try_into().map_err(|e| self.failed(e))
    }

    pub(super) fn failed(&self, detail: impl ToString) -> SpeechError {
        SpeechError::Run { engine: self.name, detail: detail.to_string() }
    }
}

/// Thread pools, one for each run that goes on at the same time. The caller's own limit on runs bounds their number.
pub(super) struct Lanes {
    threads: usize,
    idle: Mutex<Vec<Arc<ThreadPool>>>,
}

impl Lanes {
    pub(super) fn new(threads: usize) -> Self {
        Self { threads, idle: Mutex::new(Vec::new()) }
    }

    /// Runs `work` on a pool of its own: two runs never wait for each other's threads.
    pub(super) fn run<R: Send>(&self, work: impl FnOnce(&Arc<ThreadPool>) -> R + Send) -> R {
        let idle = self.idle.lock().pop();
        let lane = idle.unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(self.threads)));
        let result = lane.run(|| work(&lane));
        self.idle.lock().push(lane);
        result
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, SpeechError> {
    std::fs::read(path).map_err(|source| SpeechError::Read { path: path.to_owned(), source })
}

/// The rows of a tensor's last axis are of `width` values: the last row.
pub(super) fn last_row(tensor: &Tensor<f32>, width: usize) -> Vec<f32> {
    let values = tensor.to_vec();
    values.get(values.len().saturating_sub(width)..).unwrap_or_default().to_vec()
}
