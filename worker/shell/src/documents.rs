//! Counting, cutting and shortening texts with a model's own tokens, a slice at a time so that nobody's reply stalls.

use std::rc::Rc;

use hearth_engine::documents::{ChunkOptions, Chunker, CompressOptions, Compressor, DocumentError};
use hearth_protocol::WireError;
use hearth_protocol::content::MeasureContent;
use hearth_protocol::documents::{ChunkContent, CompressContent, CompressedText, PageModels, TextChunk};

use crate::browser;
use crate::client::Client;
use crate::error::ShellError;
use crate::loaded::LoadedModel;
use crate::message::Answers;
use crate::models::CancelFlag;
use crate::replies::RequestWork;
use crate::worker::Worker;

/// Names of the requests in error texts.
const MEASURE: &str = "measure";
const CHUNK: &str = "documents.chunk";
const COMPRESS: &str = "documents.compress";

impl Worker {
    /// `hearth.measure`.
    ///
    /// # Errors
    /// Whatever is wrong with the messages or the model.
    pub async fn measure(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: MeasureContent,
        answers: &Answers,
    ) -> Result<u32, ShellError> {
        let (model, _request) = self.begin_document(client, &content.models, MEASURE, answers).await?;
        match (content.messages, content.text) {
            (Some(messages), None) => Ok(model.chat.measure_messages(&messages)?),
            (None, Some(text)) => Ok(model.chat.measure_text(&text)?),
            (Some(_), Some(_)) => Err(wrong_measure("both").into()),
            (None, None) => Err(wrong_measure("neither").into()),
        }
    }

    /// `hearth.chunk`.
    ///
    /// # Errors
    /// Whatever is wrong with the text, the numbers or the model.
    pub async fn chunk(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: ChunkContent,
        answers: &Answers,
    ) -> Result<Vec<TextChunk>, ShellError> {
        let options = ChunkOptions {
            max_tokens: whole(content.max_tokens),
            overlap_tokens: content.overlap_tokens.map_or(0, whole),
        };
        let (model, request) = self.begin_document(client, &content.models, CHUNK, answers).await?;
        let mut chunker = Chunker::new(&content.text, options);
        in_slices(&request.cancel, || chunker.advance(model.tokenizer())).await
    }

    /// `hearth.compress`.
    ///
    /// # Errors
    /// Whatever is wrong with the text, the numbers or the model.
    pub async fn compress(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: CompressContent,
        answers: &Answers,
    ) -> Result<CompressedText, ShellError> {
        let options =
            CompressOptions { max_tokens: whole(content.max_tokens), query: content.query.as_deref() };
        let (model, request) = self.begin_document(client, &content.models, COMPRESS, answers).await?;
        let mut compressor = Compressor::new(&content.text, options);
        in_slices(&request.cancel, || compressor.advance(model.tokenizer())).await
    }

    async fn begin_document(
        self: &Rc<Self>,
        client: &Rc<Client>,
        models: &PageModels,
        name: &'static str,
        answers: &Answers,
    ) -> Result<(Rc<LoadedModel>, RequestWork), ShellError> {
        let request = RequestWork::new(self, client, answers);
        let (model, _) = self.ensure_named(client, models, name, answers).await?;
        request.cancel.check()?;
        Ok((model, request))
    }
}

/// Works until there is an outcome, with a breath for the other tabs after each slice.
async fn in_slices<T>(
    cancel: &CancelFlag,
    mut advance: impl FnMut() -> Option<Result<T, DocumentError>>,
) -> Result<T, ShellError> {
    loop {
        if let Some(outcome) = advance() {
            return Ok(outcome?);
        }
        browser::yield_now().await;
        cancel.check()?;
    }
}

/// JavaScript's number as one of tokens: fractions are cut, what is below 0 or no number is 0.
fn whole(tokens: f64) -> u32 {
    tokens as u32
}

fn wrong_measure(got: &str) -> WireError {
    let text = format!("message `hearth.measure`, content: expected either `messages` or `text`, got {got}");
    WireError::new("InvalidMessageError", text)
}
