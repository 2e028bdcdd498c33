//! `history.store`: where the store is, how it is opened, and what can be wrong with that.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, SqlSafeStr as _};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no store, or why it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A kind of store of a later version.
    #[error("not available yet: history.store = {0}")]
    NotAvailable(&'static str),
    /// Not a store at all.
    #[error("history.store: {0}: use \"sqlite:path/to/file.db\"")]
    NotAStore(String),
    /// The directory or the file could not be made, or not written.
    #[error("history.store: cannot create or write {path}: {source}")]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be opened.
    #[error("history.store: cannot open {path}: {source}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The tables could not be brought up to date: a read-only file, or one of a newer version.
    #[error("history.store: cannot bring the tables of {path} up to date: {source}")]
    Migrate {
        /// Which.
        path: PathBuf,
        /// Why.
        source: MigrateError,
    },
    /// A query failed.
    #[error("history.store: cannot read: {0}")]
    Read(#[from] sqlx::Error),
}

/// "Test connection" for `check`: opens an existing file without changing it, or says what would be made. In words.
///
/// # Errors
/// What is wrong, with its path.
pub async fn probe(url: &str) -> Result<String, StoreError> {
    let Location { path } = Location::parse(url)?;
    if !path.exists() {
        let parent = path.ancestors().skip(1).find(|parent| parent.exists() || parent.as_os_str().is_empty());
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let refused = |source| StoreError::Create { path: path.clone(), source };
        let metadata = parent.metadata().map_err(refused)?;
        if !metadata.is_dir() || metadata.permissions().readonly() {
            let reason = format!("{} is not a directory that can be written", parent.display());
            return Err(refused(io::Error::new(io::ErrorKind::PermissionDenied, reason)));
        }
        return Ok(format!("{} will be created", path.display()));
    }
    let options = SqliteConnectOptions::new().filename(&path).read_only(true).busy_timeout(BUSY);
    let calls = async {
        let mut connection = options.connect().await?;
        // A file that is no database says so only when something is read.
        sqlx::query("SELECT name FROM sqlite_schema LIMIT 1").fetch_optional(&mut connection).await?;
        connection.close().await
    };
    calls.await.map_err(|source| StoreError::Open { path: path.clone(), source })?;
    Ok(format!("{} opens", path.display()))
}

/// A checked `history.store`.
pub(super) struct Location {
    path: PathBuf,
}

impl Location {
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let (scheme, rest) = url.split_once(':').ok_or_else(|| StoreError::NotAStore(format!("\"{url}\"")))?;
        match scheme {
            "sqlite" => {}
            "postgres" | "postgresql" => return Err(StoreError::NotAvailable("postgres")),
            other => return Err(StoreError::NotAStore(format!("unknown kind \"{other}\""))),
        }
        let path = rest.strip_prefix("//").unwrap_or(rest);
        match path {
            "" => Err(StoreError::NotAStore("no file is named".into())),
            // Readers have connections of their own, and would each see an empty store.
            ":memory:" => Err(StoreError::NotAStore("a store in memory is lost with the process".into())),
            path if path.contains('?') => Err(StoreError::NotAStore("options after \"?\" are not read".into())),
            path => Ok(Self { path: path.into() }),
        }
    }

    /// Makes what is missing and brings the tables up to date.
    pub(super) async fn create(&self) -> Result<SqliteConnection, StoreError> {
        let refused = |path: &Path, source| StoreError::Create { path: path.to_owned(), source };
        if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            private_directory(parent).map_err(|source| refused(parent, source))?;
        }
        private_file(&self.path).map_err(|source| refused(&self.path, source))?;
        let opening = |source| StoreError::Open { path: self.path.clone(), source };
        let mut connection = self.reopen().connect().await.map_err(opening)?;
        let migrated = migrations().run(&mut connection).await;
        migrated.map_err(|source| StoreError::Migrate { path: self.path.clone(), source })?;
        Ok(connection)
    }

    /// How the writer opens the file that `create` has made. Never makes a new one: it would lack the tables.
    pub(super) fn reopen(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            // What was purged or erased is overwritten, not left in free pages.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY)
    }

    /// Connections for reading, opened when first needed.
    pub(super) fn readers(&self) -> SqlitePool {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .busy_timeout(BUSY)
            .pragma("query_only", "ON");
        SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(ACQUIRE).connect_lazy_with(options)
    }
}

/// Transcripts are nobody else's business on the machine.
fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn private_file(path: &Path) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// All steps from an empty file to the tables of today. A step that was released is never changed, only followed.
fn migrations() -> Migrator {
    let step = |version, description: &'static str, sql: &'static str| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        step(1, "history and ledger", include_str!("migrations/0001_history_and_ledger.sql")),
        step(2, "figures", include_str!("migrations/0002_figures.sql")),
    ])
}

/// Shorter than `PATIENCE`, so that who waits for a locked file is told that it is locked.
const BUSY: Duration = Duration::from_secs(1);
const READERS: u32 = 4;
const ACQUIRE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_refusals() {
        let path = |url| Location::parse(url).map(|location| location.path.display().to_string());
        assert_eq!(path("sqlite:data/a.db").unwrap(), "data/a.db");
        assert_eq!(path("sqlite://data/a.db").unwrap(), "data/a.db");
        assert_eq!(path("sqlite:///var/a.db").unwrap(), "/var/a.db");
        assert_eq!(path("sqlite:/var/a.db").unwrap(), "/var/a.db");
        let refusal = |url| path(url).unwrap_err().to_string();
        assert_eq!(refusal("postgres://h/db"), "not available yet: history.store = postgres");
        for url in ["", "data/a.db", "mysql://h/db", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro"] {
            assert!(refusal(url).contains("use \"sqlite:"), "{url}: {}", refusal(url));
        }
    }
}
