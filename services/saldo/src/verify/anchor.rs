//! An anchor as a file: a header, then a line of JSON for each account's newest entry.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::path::PathBuf;

use contract::{MerchantId, Timestamp};
use ledger::read::Head;
use serde::{Deserialize, Serialize};

use super::new_file::{NewFile, about};

/// The first line of an anchor; a line for each account follows, by the account's number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    anchor: u8,
    moment: Timestamp,
    /// The shop that it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merchant: Option<MerchantId>,
}

/// The version of the format.
const ANCHOR: u8 = 1;

/// Twice what a line with the longest customer id has.
const LONGEST_LINE: u64 = 4096;

/// An anchor's lines, one at a time.
pub(super) struct AnchorFile {
    file: PathBuf,
    lines: BufReader<File>,
    number: usize,
}

impl AnchorFile {
    pub(super) fn open(file: PathBuf) -> io::Result<Self> {
        let opened = File::open(&file).map_err(|error| about(&file, &error))?;
        let mut anchor = Self { file, lines: BufReader::new(opened), number: 0 };
        match anchor.line()?.map(|line| serde_json::from_slice(&line)) {
            Some(Ok(Header { anchor: ANCHOR, .. })) => Ok(anchor),
            Some(Ok(Header { anchor: version, .. })) => {
                Err(anchor.wrong(format_args!("version {version}; this program reads version {ANCHOR}")))
            }
            Some(Err(error)) => Err(anchor.wrong(format_args!("no anchor begins so: {error}"))),
            None => Err(anchor.wrong("an anchor is not empty")),
        }
    }

    /// The next line, without its end.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.number += 1;
        let read = (&mut self.lines).take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| about(&self.file, &error))? == 0 {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(self.wrong("too long, or cut off"));
        }
        Ok(Some(line))
    }

    fn wrong(&self, what: impl std::fmt::Display) -> io::Error {
        let what = format!("{}, line {}: {what}", self.file.display(), self.number);
        io::Error::new(ErrorKind::InvalidData, what)
    }
}

impl Iterator for AnchorFile {
    type Item = io::Result<Head>;
    fn next(&mut self) -> Option<io::Result<Head>> {
        let line = match self.line() {
            Ok(line) => line?,
            Err(error) => return Some(Err(error)),
        };
        let head = serde_json::from_slice::<Head>(&line).map_err(|error| self.wrong(error));
        Some(head.and_then(|head| head.check().map(|()| head).map_err(|fault| self.wrong(fault))))
    }
}

/// An anchor in the making.
pub(super) struct NewAnchor {
    merchant: Option<MerchantId>,
    lines: NewFile,
}

impl NewAnchor {
    /// Beside this file; limited to this shop.
    pub(super) fn create(file: PathBuf, merchant: Option<MerchantId>) -> io::Result<Self> {
        Ok(Self { merchant, lines: NewFile::create(file)? })
    }

    pub(super) fn begin(&mut self, moment: Timestamp) -> io::Result<()> {
        let merchant = self.merchant.take();
        self.json(&Header { anchor: ANCHOR, moment, merchant })
    }

    pub(super) fn line(&mut self, head: &Head) -> io::Result<()> {
        self.json(head)
    }

    fn json(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.lines, line)?;
        self.lines.write_all(b"\n")
    }

    /// What is made, and where it is to be.
    pub(super) fn into_file(self) -> NewFile {
        self.lines
    }
}
