//! A whole reply, put together from the chunks of a stream.

use hearth_protocol::completion::{
    ASSISTANT, AssistantMessage, CHAT_COMPLETION, ChatCompletion, ChatCompletionChunk, Choice, ChoiceLogprobs,
};

use crate::error::ShellError;

/// A reply in the making: nothing yet, then the first chunk as a completion without an end.
#[derive(Default)]
pub struct Whole {
    head: Option<ChatCompletionChunk>,
    text: String,
    logprobs: Option<ChoiceLogprobs>,
    last: Option<ChatCompletionChunk>,
}

impl Extend<ChatCompletionChunk> for Whole {
    fn extend<T: IntoIterator<Item = ChatCompletionChunk>>(&mut self, chunks: T) {
        for chunk in chunks {
            self.push(chunk);
        }
    }
}

impl Whole {
    fn push(&mut self, mut chunk: ChatCompletionChunk) {
        if chunk.usage.is_some() {
            self.last = Some(chunk);
            return;
        }
        let Some(choice) = chunk.choices.first_mut() else { return };
        if let Some(text) = choice.delta.content.take() {
            self.text.push_str(&text);
        }
        if let Some(Some(more)) = choice.logprobs.take() {
            match &mut self.logprobs {
                Some(logprobs) => logprobs.content.extend(more.content),
                None => self.logprobs = Some(more),
            }
        }
        if choice.finish_reason.is_some() || self.head.is_none() {
            self.head = Some(chunk);
        }
    }

    /// The reply, when all chunks have come.
    ///
    /// # Errors
    /// The stream has ended without saying why.
    pub fn finish(self) -> Result<ChatCompletion, ShellError> {
        let head = self.head.ok_or(ShellError::ReplyCutOff)?;
        let reason = head.choices.first().and_then(|choice| choice.finish_reason);
        let message = AssistantMessage { content: Some(self.text), role: ASSISTANT };
        let finish_reason = reason.ok_or(ShellError::ReplyCutOff)?;
        Ok(ChatCompletion {
            id: head.id,
            choices: vec![Choice { finish_reason, index: 0, logprobs: self.logprobs, message }],
            model: head.model,
            object: CHAT_COMPLETION,
            created: head.created,
            usage: self.last.and_then(|chunk| chunk.usage),
        })
    }
}
