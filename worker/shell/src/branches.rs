//! Branches of a page's conversation, and reading ahead: the cache shares what they have in common, whoever asks.

use std::pin::pin;
use std::rc::Rc;

use futures::channel::oneshot;
use futures::future::{Either, select};
use hearth_engine::chat::Speaker;
use hearth_protocol::content::{AppendContent, CloseContent, ForkContent};
use hearth_protocol::reply::AppendReply;

use crate::client::{Client, WorkKind};
use crate::error::ShellError;
use crate::message::Answers;
use crate::models::ModelKey;
use crate::replies::RequestWork;
use crate::worker::Worker;

/// The name of `hearth.append` in error texts.
const APPEND: &str = "append";

impl Worker {
    /// `hearth.fork`, in each of the page's models: a branch is of the page, whichever model it then asks.
    pub fn fork(&self, client: &Client, content: &ForkContent) {
        for loaded in &*client.loaded.borrow() {
            if let Some(model) = self.models.find(&ModelKey::of(&loaded.record)) {
                model.chat.fork(client.owner, content.from.as_deref(), &content.branch);
            }
        }
    }

    /// `hearth.close`.
    pub fn close_branch(&self, client: &Client, content: &CloseContent) {
        client
            .cancel_kinds(|kind| matches!(kind, WorkKind::Reply(Some(branch)) if *branch == content.branch));
        for (_, model) in self.models.loaded() {
            model.chat.close_branch(client.owner, &content.branch);
        }
    }

    /// `hearth.append`: the prompt so far is read into the cache.
    ///
    /// # Errors
    /// Whatever is wrong with the messages, the model, or the engine.
    pub async fn append(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: AppendContent,
        answers: &Answers,
    ) -> Result<AppendReply, ShellError> {
        let request = RequestWork::new(self, client, answers);
        let AppendContent { messages, models, branch } = content;
        let (model, loaded) = self.ensure_named(client, &models, APPEND, answers).await?;
        request.cancel.check()?;
        let options = loaded.tab_options()?;
        let speaker = Speaker { owner: client.owner, branch: branch.clone() };
        let reading = model.chat.append(&messages, &speaker, &options)?;
        let (sender, cancelled) = oneshot::channel::<()>();
        request.cancel.on_cancel(move || {
            let _ = sender.send(());
        });
        self.watch();
        match select(pin!(reading), cancelled).await {
            Either::Left((Ok(reply), _)) => Ok(reply),
            Either::Left((Err(error), _)) => Err(model.explain(error).await),
            // Dropping it stops the reading; what has been read stays in the cache.
            Either::Right(_) => Err(ShellError::LoadCancelled),
        }
    }
}
