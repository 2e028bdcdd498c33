//! Reading conversations and the open part of the ledger.

use super::location::StoreError;
use super::record::{Conversation, KeyHash, Line, SignalId, SignalSeen, Unsettled, micros, timestamp};
use crate::base::{CallId, ContactId};
use crate::call::output::{Purpose, SignalOrder};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{FromRow, Row as _};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The conversation of a key that is not past its age.
pub(super) async fn conversation(
    readers: &SqlitePool,
    key: KeyHash,
    cutoff: SystemTime,
) -> Result<Option<Conversation>, StoreError> {
    // One transaction: the three tables as they were at one moment.
    let mut reading = readers.begin().await?;
    let call: Option<CallRow> =
        sqlx::query_as(CALL).bind(key.bytes()).bind(micros(cutoff)).fetch_optional(&mut *reading).await?;
    let Some(call) = call else { return Ok(None) };
    let signals: Vec<SignalRow> = sqlx::query_as(SIGNALS).bind(call.id).fetch_all(&mut *reading).await?;
    let entries: Vec<EntryRow> = sqlx::query_as(ENTRIES).bind(call.id).fetch_all(&mut *reading).await?;
    reading.commit().await?;
    Ok(Some(Conversation {
        call_id: call.call_id,
        contact_id: call.contact_id,
        caller_number: call.caller_number,
        called_number: call.called_number,
        tenant: call.tenant,
        started_at: timestamp(call.started_at),
        answered_at: call.answered_at.map(timestamp),
        ended_at: call.ended_at.map(timestamp),
        end_reason: call.end_reason,
        cause: call.cause,
        turns: call.turns.and_then(|turns| turns.try_into().ok()),
        figures: call.figures.and_then(|figures| serde_json::from_str(&figures).ok()),
        signals: signals.into_iter().map(SignalRow::seen).collect(),
        entries: entries.into_iter().map(EntryRow::line).collect(),
    }))
}

/// Ordered and never settled, oldest first.
pub(super) async fn unsettled(readers: &SqlitePool) -> Result<Vec<Unsettled>, StoreError> {
    let rows: Vec<UnsettledRow> = sqlx::query_as(UNSETTLED).fetch_all(readers).await?;
    Ok(rows.into_iter().filter_map(UnsettledRow::unsettled).collect())
}

/// A row by the names of its columns. sqlx's derive would build its database drivers a second time, for the compiler.
macro_rules! row {
    (struct $name:ident { $($column:ident: $kind:ty,)* }) => {
        struct $name { $($column: $kind,)* }

        impl FromRow<'_, SqliteRow> for $name {
            fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
                Ok(Self { $($column: row.try_get(stringify!($column))?,)* })
            }
        }
    };
}

row! {
    struct CallRow {
        id: i64,
        call_id: String,
        contact_id: Option<String>,
        caller_number: String,
        called_number: String,
        tenant: Option<String>,
        started_at: i64,
        answered_at: Option<i64>,
        ended_at: Option<i64>,
        end_reason: Option<String>,
        cause: Option<String>,
        turns: Option<i64>,
        figures: Option<String>,
    }
}

row! {
    struct SignalRow {
        purpose: String,
        state: String,
        ordered_at: i64,
        settled_at: Option<i64>,
        custom_data: String,
        detail: Option<String>,
    }
}

impl SignalRow {
    fn seen(self) -> SignalSeen {
        SignalSeen {
            purpose: self.purpose,
            state: self.state,
            ordered_at: timestamp(self.ordered_at),
            settled_at: self.settled_at.map(timestamp),
            custom_data: custom_data(&self.custom_data),
            detail: self.detail,
        }
    }
}

row! {
    struct EntryRow {
        seq: i64,
        at: i64,
        who: String,
        text: String,
    }
}

impl EntryRow {
    fn line(self) -> Line {
        let seq = self.seq.try_into().unwrap_or_default();
        Line { seq, at: timestamp(self.at), who: self.who, text: self.text }
    }
}

row! {
    struct UnsettledRow {
        id: String,
        call_id: String,
        contact_id: String,
        purpose: String,
        p1: Option<String>,
        custom_data: String,
        ordered_at: i64,
    }
}

impl UnsettledRow {
    fn unsettled(self) -> Option<Unsettled> {
        let id = SignalId::parse(&self.id)?;
        let purpose = [Purpose::Transfer, Purpose::Hangup].into_iter().find(|p| p.as_str() == self.purpose)?;
        let p1 = self.p1.map(|value| ("p1".to_owned(), value));
        let parameters = p1.into_iter().chain(custom_data(&self.custom_data)).collect();
        let order = SignalOrder { contact_id: ContactId::new(self.contact_id), purpose, parameters };
        Some(Unsettled { id, call_id: CallId::new(self.call_id), order, ordered_at: timestamp(self.ordered_at) })
    }
}

/// The writer made this text; what someone else has put there reads as nothing.
fn custom_data(text: &str) -> BTreeMap<String, String> {
    serde_json::from_str(text).unwrap_or_default()
}

const CALL: &str = "SELECT id, call_id, contact_id, caller_number, called_number, tenant, started_at, answered_at, \
     ended_at, end_reason, cause, turns, figures FROM calls WHERE key_hash = $1 AND ages_from >= $2";
const SIGNALS: &str = "SELECT purpose, state, ordered_at, settled_at, custom_data, detail FROM signals \
     WHERE call = $1 ORDER BY ordered_at, id";
/// The bound is far beyond any call; it keeps one row set from filling the memory.
const ENTRIES: &str = "SELECT seq, at, who, text FROM entries WHERE call = $1 ORDER BY seq LIMIT 20000";
const UNSETTLED: &str = "SELECT s.id, c.call_id, s.contact_id, s.purpose, s.p1, s.custom_data, s.ordered_at \
     FROM signals s JOIN calls c ON c.id = s.call WHERE s.state = 'ordered' ORDER BY s.ordered_at, s.id";
