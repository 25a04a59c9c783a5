//! A disk of its own for some of the ledger's tables, which can be full.

use std::path::PathBuf;
use std::process::Command;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::World;

/// A file system in memory that holds tables.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    tablespace: String,
    tables: Vec<&'static str>,
    database: String,
}

/// How large it is while it is not meant to be full.
const ROOM: &str = "16g";

impl Disk {
    /// A disk with room for everything that comes.
    ///
    /// # Errors
    /// This process may not mount one, or the server does not reach it.
    pub async fn of(world: &World, tables: &[&'static str]) -> Result<Self, String> {
        let folder = PathBuf::from(format!("/var/tmp/{}.disk", world.name));
        std::fs::create_dir(&folder).unwrap();
        let options = format!("size={ROOM},mode=0700");
        if !run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", folder.to_str().unwrap()]) {
            std::fs::remove_dir(&folder).unwrap();
            return Err("no file system can be mounted here".to_owned());
        }
        // From here on it is unmounted whatever happens.
        let (tablespace, database) = (format!("{}_disk", world.name), world.database_url(None));
        let mut disk = Self { tablespace, database, folder, tables: Vec::new() };
        if !run("chown", &["postgres:", disk.path()]) {
            return Err("there is no user postgres".to_owned());
        }
        let mut admin = world.superuser().await;
        let sql = format!("CREATE TABLESPACE {} LOCATION '{}'", disk.tablespace, disk.path());
        let unreachable = |error| format!("the server cannot use a disk of ours ({error})");
        admin.execute(AssertSqlSafe(sql)).await.map_err(unreachable)?;
        disk.tables = tables.to_vec();
        for table in tables {
            let sql = format!("ALTER TABLE saldo.{table} SET TABLESPACE {}", disk.tablespace);
            admin.execute(AssertSqlSafe(sql)).await.unwrap();
        }
        Ok(disk)
    }

    fn path(&self) -> &str {
        self.folder.to_str().unwrap()
    }

    /// Leaves it so much room, such as `1m`; false: more is taken already.
    pub fn shrink(&self, size: &str) -> bool {
        run("mount", &["-o", &format!("remount,size={size}"), self.path()])
    }

    /// Leaves it no more room than is taken.
    pub fn fill(&self) -> bool {
        let used = || {
            let output = Command::new("df").args(["--output=used", "-k", self.path()]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).lines().last().map(|used| format!("{}k", used.trim()))
        };
        // Somebody may write in between.
        (0..50).any(|_| used().is_some_and(|used| self.shrink(&used)))
    }

    /// Gives it room.
    pub fn enlarge(&self) {
        assert!(self.shrink(ROOM), "the disk cannot be enlarged");
    }
}

impl Drop for Disk {
    /// Takes the tables back before the disk goes, on a thread of its own: this one may be in a runtime.
    fn drop(&mut self) {
        self.shrink(ROOM);
        let (url, tablespace, tables) = (self.database.clone(), self.tablespace.clone(), self.tables.clone());
        let back = async move {
            let mut admin = PgConnection::connect(&url).await?;
            for table in tables {
                let sql = format!("ALTER TABLE saldo.{table} SET TABLESPACE pg_default");
                admin.execute(AssertSqlSafe(sql)).await?;
            }
            admin.execute(AssertSqlSafe(format!("DROP TABLESPACE IF EXISTS {tablespace}"))).await
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(back).map_err(std::io::Error::other)
        });
        if let Ok(Err(error)) = thread.join() {
            #[expect(clippy::print_stderr, reason = "a table is lost with its disk")]
            {
                eprintln!("the tables could not be taken back: {error}");
            }
        }
        run("umount", &["-l", self.path()]);
        let _ = std::fs::remove_dir(&self.folder);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}
