//! The SQL of every write. Plain and with `$n`, so that it ports to PostgreSQL.

use super::record::micros;
use super::writer::Write;
use crate::base::clock;
use crate::call::input::SignalOutcome;
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeMap;
use std::time::Duration;

/// Executes one write; how many rows it concerned.
pub(super) async fn apply(write: &Write, connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    let query = match write {
        Write::Begin { key, record } => sqlx::query(BEGIN)
            .bind(key.bytes())
            .bind(record.call_id.as_str())
            .bind(record.contact_id.as_ref().map(|id| id.as_str()))
            .bind(&record.caller_number)
            .bind(&record.called_number)
            .bind(&record.tenant)
            .bind(micros(record.started_at))
            .bind(micros(record.started_at + FORGOTTEN)),
        Write::Append { key, entry } => {
            sqlx::query(APPEND).bind(key.bytes()).bind(micros(entry.at)).bind(entry.who.as_str()).bind(&entry.text)
        }
        Write::Measure { key, figures } => sqlx::query(MEASURE).bind(key.bytes()).bind(figures),
        Write::Finish { key, summary, ended_at } => sqlx::query(FINISH)
            .bind(key.bytes())
            .bind(micros(*ended_at))
            .bind(summary.setup.map(|setup| i64::try_from(setup.as_micros()).unwrap_or(i64::MAX)))
            .bind(summary.end_reason.as_str())
            .bind(&summary.cause)
            .bind(i64::from(summary.turns)),
        Write::Commit { key, .. } => {
            let known = sqlx::query(KNOWN).bind(key.bytes()).fetch_optional(connection).await?;
            return Ok(u64::from(known.is_some()));
        }
        Write::Order { id, key, order, ordered_at, .. } => {
            let p1 = order.parameters.iter().find(|(name, _)| name == "p1").map(|(_, value)| value.as_str());
            let rest: BTreeMap<&str, &str> = order
                .parameters
                .iter()
                .filter(|(name, _)| name != "p1")
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            sqlx::query(ORDER)
                .bind(key.bytes())
                .bind(id.to_string())
                .bind(order.purpose.as_str())
                .bind(order.contact_id.as_str())
                .bind(p1)
                .bind(serde_json::to_string(&rest).unwrap_or_else(|_| "{}".into()))
                .bind(micros(*ordered_at))
        }
        Write::Settle { id, outcome, attempts, settled_at } => {
            let (state, fault) = match outcome {
                SignalOutcome::Accepted => ("accepted", None),
                SignalOutcome::Ambiguous(fault) => ("ambiguous", Some(fault)),
                SignalOutcome::ContactGone(fault) | SignalOutcome::Failed(fault) => ("failed", Some(fault)),
            };
            sqlx::query(SETTLE)
                .bind(id.to_string())
                .bind(state)
                .bind(i64::from(*attempts))
                .bind(micros(*settled_at))
                .bind(fault.map(ToString::to_string))
        }
        Write::CloseUnsettled { before, .. } => {
            sqlx::query(CLOSE).bind(micros(clock::now().wall)).bind(NEVER_TOLD).bind(micros(*before))
        }
        Write::Purge { before, .. } => sqlx::query(PURGE).bind(micros(*before)).bind(PURGED_AT_ONCE),
    };
    Ok(query.execute(connection).await?.rows_affected())
}

/// Writes that there was something to write: an idle store's sign of life.
pub(super) async fn beat(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query(HEARTBEAT).bind(micros(clock::now().wall)).execute(connection).await.map(drop)
}

const BEGIN: &str = "INSERT INTO calls (key_hash, call_id, contact_id, caller_number, called_number, tenant, started_at, \
     ages_from) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const APPEND: &str = "INSERT INTO entries (call, seq, at, who, text) \
     SELECT id, COALESCE((SELECT MAX(seq) FROM entries WHERE call = calls.id), 0) + 1, $2, $3, $4 \
     FROM calls WHERE key_hash = $1";
const MEASURE: &str = "UPDATE calls SET figures = $2 WHERE key_hash = $1";
const FINISH: &str = "UPDATE calls SET ended_at = $2, ages_from = $2, answered_at = started_at + $3, end_reason = $4, \
     cause = $5, turns = $6 WHERE key_hash = $1";
const KNOWN: &str = "SELECT id FROM calls WHERE key_hash = $1";
const ORDER: &str = "INSERT INTO signals (call, id, purpose, contact_id, p1, custom_data, state, ordered_at) \
     SELECT id, $2, $3, $4, $5, $6, 'ordered', $7 FROM calls WHERE key_hash = $1";
/// The first word counts: a signal is settled once.
const SETTLE: &str = "UPDATE signals SET state = $2, attempts = $3, settled_at = $4, detail = $5, p1 = NULL \
     WHERE id = $1 AND state = 'ordered'";
const CLOSE: &str = "UPDATE signals SET state = 'ambiguous', settled_at = $1, detail = $2, p1 = NULL \
     WHERE state = 'ordered' AND ordered_at < $3";
const NEVER_TOLD: &str = "the process ended before the answer";
const PURGE: &str =
    "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE ages_from < $1 ORDER BY ages_from LIMIT $2)";
const HEARTBEAT: &str = "INSERT INTO heartbeat (id, at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at = excluded.at";
/// Few enough that calls do not wait behind a purge.
const PURGED_AT_ONCE: i64 = 200;
/// A call without an end is over a day after it began.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);
