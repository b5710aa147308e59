//! What a reply needs from outside to be told from others, and to differ from them.

/// Names and dates replies. The engine has neither randomness nor a calendar.
pub trait Identities {
    /// A fresh random UUID.
    fn reply_id(&self) -> String;

    /// Seconds since 1970.
    fn unix_time_s(&self) -> u64;

    /// Random bits: they decide the draws of requests that bring no seed.
    fn entropy(&self) -> u64;
}
