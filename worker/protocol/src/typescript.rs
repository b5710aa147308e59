//! The TypeScript of every wire type, as one file for the client.

use ts_rs::{Config, TS};

use crate::{
    WireError, chat, completion, config, content, context, documents, logging, progress, push, reply,
    request, version,
};

const HEADER: &str = "// Generated from worker/protocol by `cargo hearth build`; do not edit.\n\n";

/// The whole of `client/src/protocol.gen.ts`. The same every time.
pub fn typescript() -> String {
    let config = Config::new().with_large_int("number");
    let mut file = HEADER.to_owned();
    file.push_str(&format!(
        "/** Version of the wire. */\nexport const PROTOCOL_VERSION = {};\n",
        version::PROTOCOL_VERSION
    ));
    macro_rules! declare {
        ($($kind:ty),* $(,)?) => {
            $(
                file.push('\n');
                file.push_str(&<$kind as TS>::docs().unwrap_or_default());
                file.push_str("export ");
                file.push_str(&<$kind as TS>::decl(&config));
                file.push('\n');
            )*
        };
    }
    declare!(
        WireError,
        logging::LogLevel,
        config::AppConfig,
        config::ModelRecord,
        config::ChatOptions,
        config::HearthOptions,
        config::OverflowPolicy,
        config::TabBudget,
        config::FairWord,
        config::KvCacheTokens,
        config::AutoWord,
        config::KvCacheType,
        chat::ChatCompletionRequest,
        chat::HearthRequestOptions,
        chat::StreamOptions,
        chat::ExtraBody,
        chat::ResponseFormat,
        chat::StopStrings,
        chat::ChatMessage,
        chat::Role,
        chat::MessageContent,
        chat::ContentPart,
        completion::ChatCompletion,
        completion::Choice,
        completion::AssistantMessage,
        completion::ChoiceLogprobs,
        completion::TokenLogprob,
        completion::TopLogprob,
        completion::FinishReason,
        completion::ChatCompletionChunk,
        completion::ChunkChoice,
        completion::Delta,
        completion::CompletionUsage,
        completion::PromptTokensDetails,
        completion::UsageExtra,
        completion::ContextReport,
        progress::InitProgressReport,
        request::Request,
        request::RequestBody,
        content::ReloadContent,
        content::ChatContent,
        content::StreamInitContent,
        content::StreamReference,
        content::ResetChatContent,
        content::ModelReference,
        content::HelloContent,
        content::CancelContent,
        content::MeasureContent,
        content::AppendContent,
        content::ForkContent,
        content::CloseContent,
        content::TabContent,
        content::WatchContent,
        documents::PageModels,
        documents::ChunkContent,
        documents::CompressContent,
        documents::TextChunk,
        documents::CompressedText,
        context::ContextUsage,
        context::TabState,
        context::TabReport,
        context::PageState,
        context::PageReport,
        context::PoolReport,
        context::OverflowPhase,
        context::EvictionReason,
        context::RestoreSource,
        context::ContextEvent,
        context::TabEvent,
        context::ReplySnapshot,
        reply::Reply,
        reply::ReturnContent,
        reply::HelloReply,
        reply::AppendReply,
        reply::UsageReport,
        reply::DeviceUsage,
        push::PushMessage,
        push::PushControl,
    );
    indent(&file)
}

/// Indents by the depth of braces, and drops spaces at the ends of lines.
fn indent(text: &str) -> String {
    let mut depth = 0;
    let mut indented = String::with_capacity(text.len());
    for line in text.lines().map(str::trim) {
        let is_comment = line.starts_with("/*") || line.starts_with('*') || line.starts_with("//");
        let braces = |brace| if is_comment { 0 } else { line.matches(brace).count() };
        let depth_after = (depth + braces('{')).saturating_sub(braces('}'));
        if !line.is_empty() {
            let level = if line.starts_with('}') { depth_after } else { depth };
            indented.push_str(&"  ".repeat(level));
            indented.push_str(if line.starts_with('*') { " " } else { "" });
            indented.push_str(line);
        }
        indented.push('\n');
        depth = depth_after;
    }
    indented
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_deterministic_and_free_of_any() {
        let file = typescript();
        assert_eq!(file, typescript());
        for forbidden in [": any", "<any>", "bigint", "import "] {
            assert!(!file.contains(forbidden), "{forbidden} in:\n{file}");
        }
        assert!(file.contains("export type Reply ="), "{file}");
    }
}
