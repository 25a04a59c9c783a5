//! What nobody may read in clear: payout details, encrypted with XChaCha20-Poly1305.
//!
//! A sealed text opens for its purpose only. What it belongs to (merchant, customer and version; or a
//! command; or a worker) is authenticated with it, so that a ciphertext copied to another row does not open.
//! The nonce is random and precedes the ciphertext; it is 24 bytes long, so that chance never repeats one.
//!
//! Keys come from the setting `payout.keys`, `ID:KEY[,ID:KEY…]` with a key of 32 bytes in base64: the first one
//! encrypts, all of them decrypt. A key goes out of use by putting a new one before it, encrypting anew what it
//! had encrypted (`saldo keys rotate`), and taking it out. In memory they are wiped with the vault; what the
//! environment holds is the environment's.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::Generate;
use chacha20poly1305::{AeadInOut, Key, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use contract::{ContentHash, CustomerId, KeyHash, MerchantId};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

/// How long a key is, in bytes.
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// A key's id is short, so that a key written in its place is none. It stands in headers and columns.
const MAX_ID: usize = 32;

/// What a sealed text is, and whose.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A version of a customer's payout method.
    PayoutMethod {
        /// Whose customer.
        merchant: &'a MerchantId,
        /// The customer.
        customer: &'a CustomerId,
        /// From 1.
        version: i32,
    },
    /// The body of a parked command.
    Parked {
        /// The command's.
        key: KeyHash,
    },
    /// The body of a dead letter.
    DeadLetter {
        /// Who made it.
        worker: &'a str,
    },
}

impl Purpose<'_> {
    /// The associated data: every part preceded by its length, so that no two purposes have the same.
    fn associated_data(&self) -> Vec<u8> {
        match self {
            Self::PayoutMethod { merchant, customer, version } => join(&[
                b"payout-method",
                merchant.as_str().as_bytes(),
                customer.as_str().as_bytes(),
                &version.to_be_bytes(),
            ]),
            Self::Parked { key } => join(&[b"parked", &key.0]),
            Self::DeadLetter { worker } => join(&[b"dead-letter", worker.as_bytes()]),
        }
    }
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::new();
    for part in parts {
        joined.extend((part.len() as u64).to_be_bytes());
        joined.extend(*part);
    }
    joined
}

/// An encrypted text.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The id of the key that opens it.
    pub key_id: String,
    /// Nonce, ciphertext and tag: 40 bytes more than the text.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("key_id", &self.key_id).field("bytes", &self.bytes.len()).finish()
    }
}

/// Why a sealed text does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its key has gone, or never was here.
    #[error("it is encrypted with the key {0}, which is not in payout.keys")]
    UnknownKey(String),
    /// Fewer bytes than nonce and tag have.
    #[error("it is too short to be anything encrypted")]
    Truncated,
    /// Changed, of another purpose, or encrypted with another key of this id.
    #[error(
        "it does not decrypt: it is damaged, belongs elsewhere, or its key's id stands for another key now"
    )]
    Refused,
}

/// Why keys cannot be used. Names them by their place in the list: what stands there may be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct KeysError(pub Vec<String>);

/// The keys, ready for use. The first encrypts.
pub struct Vault {
    first: Cipher,
    others: Vec<Cipher>,
}

/// The cipher wipes its key when it is dropped.
struct Cipher {
    id: String,
    aead: XChaCha20Poly1305,
    /// For fingerprints: derived from the key, so that no key serves two algorithms.
    fingerprints: Zeroizing<[u8; 32]>,
}

impl Cipher {
    fn new(id: String, key: &[u8; KEY_BYTES]) -> Self {
        let fingerprints = Zeroizing::new(mac(key, b"saldo content fingerprint"));
        Self { id, aead: XChaCha20Poly1305::new(key.into()), fingerprints }
    }
}

/// HMAC-SHA-256 (RFC 2104).
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vault").field(&self.key_ids().collect::<Vec<_>>()).finish()
    }
}

impl Vault {
    /// The id of the key that encrypts.
    pub fn current(&self) -> &str {
        &self.first.id
    }

    /// The ids of all keys, the current one first.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.ciphers().map(|cipher| cipher.id.as_str())
    }

    fn ciphers(&self) -> impl Iterator<Item = &Cipher> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Encrypts with the current key. Panics if the system has no randomness.
    #[expect(clippy::expect_used, reason = "the cipher refuses texts over 256 GiB only")]
    pub fn seal(&self, purpose: Purpose<'_>, text: &[u8]) -> Sealed {
        let nonce = XNonce::generate();
        // Allocated once: growing would leave a copy of the text behind.
        let mut bytes = Vec::with_capacity(NONCE_BYTES + text.len() + TAG_BYTES);
        bytes.extend(nonce);
        bytes.extend(text);
        let tag = self
            .first
            .aead
            .encrypt_inout_detached(&nonce, &purpose.associated_data(), (&mut bytes[NONCE_BYTES..]).into())
            .expect("a text in memory is not too long");
        bytes.extend(tag);
        Sealed { key_id: self.first.id.clone(), bytes }
    }

    /// Decrypts with the key that encrypted.
    ///
    /// # Errors
    /// The key is not here, or it was not sealed for this purpose, or not by anybody.
    pub fn open(&self, purpose: Purpose<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let cipher = self
            .ciphers()
            .find(|cipher| cipher.id == sealed.key_id)
            .ok_or_else(|| OpenError::UnknownKey(sealed.key_id.clone()))?;
        let (nonce, rest) = sealed.bytes.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Truncated)?;
        let (encrypted, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(OpenError::Truncated)?;
        let mut text = Zeroizing::new(encrypted.to_vec());
        cipher
            .aead
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                &purpose.associated_data(),
                text.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| OpenError::Refused)?;
        Ok(text)
    }

    /// What is stored in place of a content's hash from which the content could be guessed: without the key it tells
    /// nothing.
    pub fn fingerprint(&self, content: ContentHash) -> ContentHash {
        ContentHash(mac(&*self.first.fingerprints, &content.0))
    }

    /// Whether it is the fingerprint of this content under any of the keys. Under one that has gone it is not: a
    /// repetition from so long ago is taken for a conflict, and never applied.
    pub fn is_fingerprint(&self, fingerprint: ContentHash, content: ContentHash) -> bool {
        self.ciphers().any(|cipher| mac(&*cipher.fingerprints, &content.0) == fingerprint.0)
    }

    /// A new key, in base64 and without an id. Panics if the system has no randomness.
    pub fn generate_key() -> String {
        let mut key = Key::generate();
        let text = STANDARD.encode(key.as_slice());
        key.as_mut_slice().zeroize();
        text
    }
}

impl FromStr for Vault {
    type Err = KeysError;

    /// Reads `ID:KEY[,ID:KEY…]`; blanks around an entry are ignored.
    fn from_str(text: &str) -> Result<Self, KeysError> {
        let mut problems = Vec::new();
        let mut read: Vec<(usize, &str, Zeroizing<[u8; KEY_BYTES]>)> = Vec::new();
        for (place, entry) in (1..).zip(text.split(',')) {
            let (id, key) = match entry_of(entry.trim()) {
                Ok(entry) => entry,
                Err(problem) => {
                    problems.push(format!("key {place}: {problem}"));
                    continue;
                }
            };
            for (other, other_id, other_key) in &read {
                if *other_id == id {
                    problems.push(format!("key {place}: has the id of key {other}; expected another one"));
                } else if **other_key == *key {
                    problems.push(format!("key {place}: is key {other} with another id; expected a new key"));
                }
            }
            read.push((place, id, key));
        }
        let mut ciphers = read.into_iter().map(|(_, id, key)| Cipher::new(id.to_owned(), &key));
        match ciphers.next() {
            Some(first) if problems.is_empty() => Ok(Self { first, others: ciphers.collect() }),
            _ => Err(KeysError(problems)),
        }
    }
}

/// `ID:KEY`.
fn entry_of(entry: &str) -> Result<(&str, Zeroizing<[u8; KEY_BYTES]>), &'static str> {
    let (id, key) = entry.split_once(':').ok_or("has no colon; expected ID:KEY")?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(good) {
        return Err("its id is not one; expected 1 to 32 letters, digits, hyphens, underscores and dots");
    }
    // Longer than a key, so that one that is too long is not taken for something else.
    let mut decoded = Zeroizing::new([0; 3 * KEY_BYTES]);
    match STANDARD.decode_slice(key, &mut *decoded) {
        Ok(KEY_BYTES) => {
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            key.copy_from_slice(&decoded[..KEY_BYTES]);
            Ok((id, key))
        }
        _ => Err("its key is not one; expected 32 bytes in base64, such as `openssl rand -base64 32` prints"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes 0 to 31.
    const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn vault(keys: &str) -> Vault {
        keys.parse().unwrap()
    }

    fn old() -> Vault {
        vault(&format!("2026:{OLD}"))
    }

    fn method<'a>(merchant: &'a MerchantId, customer: &'a CustomerId, version: i32) -> Purpose<'a> {
        Purpose::PayoutMethod { merchant, customer, version }
    }

    fn names(merchant: &str, customer: &str) -> (MerchantId, CustomerId) {
        (merchant.parse().unwrap(), customer.parse().unwrap())
    }

    fn problems(keys: &str) -> String {
        keys.parse::<Vault>().map(drop).unwrap_err().to_string()
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose() {
        let (vault, (acme, customer)) = (old(), names("acme", "c-17"));
        for purpose in [
            method(&acme, &customer, 1),
            Purpose::Parked { key: KeyHash([7; 16]) },
            Purpose::DeadLetter { worker: "directory" },
        ] {
            for text in [&b""[..], b"DE89370400440532013000", &vec![0xff; 40_000]] {
                let sealed = vault.seal(purpose, text);
                assert_eq!(sealed.key_id, "2026");
                assert_eq!(sealed.bytes.len(), text.len() + NONCE_BYTES + TAG_BYTES);
                assert_eq!(**vault.open(purpose, &sealed).unwrap(), *text);
            }
        }
    }

    #[test]
    fn the_same_text_is_sealed_differently_each_time() {
        let purpose = Purpose::DeadLetter { worker: "directory" };
        let (one, other) = (old().seal(purpose, b"text"), old().seal(purpose, b"text"));
        assert_ne!(one.bytes[..NONCE_BYTES], other.bytes[..NONCE_BYTES]);
        assert_ne!(one.bytes[NONCE_BYTES..], other.bytes[NONCE_BYTES..]);
    }

    #[test]
    fn a_moved_ciphertext_does_not_open() {
        let vault = old();
        let (acme, customer) = names("acme", "c-17");
        let sealed = vault.seal(method(&acme, &customer, 1), b"text");
        let elsewhere = [
            (names("acme", "c-18"), 1),
            (names("acme", "c-17"), 2),
            (names("other", "c-17"), 1),
            // The same characters, divided otherwise.
            (names("acmec", "-17"), 1),
            (names("acm", "ec-17"), 1),
        ];
        for ((merchant, customer), version) in &elsewhere {
            let opened = vault.open(method(merchant, customer, *version), &sealed);
            assert_eq!(opened, Err(OpenError::Refused), "{merchant} {customer} {version}");
        }
        for purpose in [Purpose::DeadLetter { worker: "acme" }, Purpose::Parked { key: KeyHash([0; 16]) }] {
            assert_eq!(vault.open(purpose, &sealed), Err(OpenError::Refused));
        }
    }

    #[test]
    fn no_changed_byte_goes_unnoticed() {
        let (vault, purpose) = (old(), Purpose::Parked { key: KeyHash([1; 16]) });
        let sealed = vault.seal(purpose, b"text");
        for position in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[position] ^= 1;
            assert_eq!(vault.open(purpose, &changed), Err(OpenError::Refused), "byte {position}");
        }
    }

    #[test]
    fn a_truncated_one_says_so() {
        let (vault, purpose) = (old(), Purpose::DeadLetter { worker: "directory" });
        let sealed = vault.seal(purpose, b"text");
        for length in 0..sealed.bytes.len() {
            let short = Sealed { bytes: sealed.bytes[..length].to_vec(), ..sealed.clone() };
            let wanted =
                if length < NONCE_BYTES + TAG_BYTES { OpenError::Truncated } else { OpenError::Refused };
            assert_eq!(vault.open(purpose, &short), Err(wanted), "{length} bytes");
        }
    }

    #[test]
    fn a_rotated_ring_opens_what_the_old_key_sealed_until_that_is_taken_out() {
        let (old, new, purpose) = (old(), Vault::generate_key(), Purpose::DeadLetter { worker: "directory" });
        let sealed = old.seal(purpose, b"text");
        let both = vault(&format!("2027:{new}, 2026:{OLD}"));
        assert_eq!(both.current(), "2027");
        assert_eq!(both.key_ids().collect::<Vec<_>>(), ["2027", "2026"]);
        assert_eq!(**both.open(purpose, &sealed).unwrap(), *b"text");
        let anew = both.seal(purpose, b"text");
        assert_eq!(anew.key_id, "2027");
        let rotated = vault(&format!("2027:{new}"));
        assert_eq!(**rotated.open(purpose, &anew).unwrap(), *b"text");
        assert_eq!(rotated.open(purpose, &sealed), Err(OpenError::UnknownKey("2026".to_owned())));
        // The id of another key does not make it open, nor does another key of the same id.
        let renamed = Sealed { key_id: "2027".to_owned(), ..sealed.clone() };
        assert_eq!(both.open(purpose, &renamed), Err(OpenError::Refused));
        assert_eq!(vault(&format!("2026:{new}")).open(purpose, &sealed), Err(OpenError::Refused));
    }

    /// Made with libsodium (`PyNaCl` 1.6): key 00…1f, nonce 40…57, the parts' lengths as eight big-endian bytes.
    #[test]
    fn it_is_what_libsodium_makes() {
        let (acme, customer) = names("acme", "c-17");
        let golden: [(Purpose<'_>, &[u8], &str); 3] = [
            (
                method(&acme, &customer, 3),
                br#"{"paypal":{"email":"jo@example.com"}}"#,
                "af1b7511a990187aadcefc9ccaf104fbfe9897e6793613ff1250903565610df37994201328c58a972de9d991\
                 8a2c5b04d78f98d125",
            ),
            (
                Purpose::Parked { key: KeyHash([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]) },
                b"parked",
                "a458771bb584e759c639344c0551c79e811a092f2738",
            ),
            (
                Purpose::DeadLetter { worker: "directory" },
                b"dead",
                "b05c6414bf00d88aa6ef91c6dcdc96c407922c02",
            ),
        ];
        for (purpose, text, encrypted) in golden {
            let encrypted = (0..encrypted.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&encrypted[at..at + 2], 16).unwrap());
            let sealed = Sealed { key_id: "2026".to_owned(), bytes: (0x40..0x58).chain(encrypted).collect() };
            assert_eq!(**old().open(purpose, &sealed).unwrap(), *text, "{purpose:?}");
        }
    }

    #[test]
    fn a_generated_key_is_one() {
        let (one, other) = (Vault::generate_key(), Vault::generate_key());
        assert_ne!(one, other);
        assert_eq!(vault(&format!("a:{one},b:{other}")).key_ids().count(), 2);
    }

    #[test]
    fn every_problem_is_listed_and_no_key_repeated() {
        let other = Vault::generate_key();
        assert_eq!(problems(""), "key 1: has no colon; expected ID:KEY");
        assert_eq!(problems(OLD), "key 1: has no colon; expected ID:KEY");
        assert_eq!(
            problems(&format!("a:{OLD},a:{other},b:{OLD},:{other},{OLD}:c,c:{other}AAAA,d:abc,")),
            "key 2: has the id of key 1; expected another one; \
             key 3: is key 1 with another id; expected a new key; \
             key 4: its id is not one; expected 1 to 32 letters, digits, hyphens, underscores and dots; \
             key 5: its id is not one; expected 1 to 32 letters, digits, hyphens, underscores and dots; \
             key 6: its key is not one; expected 32 bytes in base64, such as `openssl rand -base64 32` prints; \
             key 7: its key is not one; expected 32 bytes in base64, such as `openssl rand -base64 32` prints; \
             key 8: has no colon; expected ID:KEY"
        );
        // A text far longer than any key.
        let long = format!("a:{}", "A".repeat(10_000));
        assert!(problems(&long).starts_with("key 1: its key is not one"), "{}", problems(&long));
    }

    #[test]
    fn neither_keys_nor_ciphertexts_are_shown() {
        let vault = old();
        assert_eq!(format!("{vault:?}"), r#"Vault(["2026"])"#);
        let sealed = vault.seal(Purpose::DeadLetter { worker: "directory" }, b"text");
        assert_eq!(format!("{sealed:?}"), r#"Sealed { key_id: "2026", bytes: 44 }"#);
    }

    #[test]
    fn a_fingerprint_is_known_under_every_key_that_is_left_and_tells_nothing_without() {
        let (old, new) = (Vault::generate_key(), Vault::generate_key());
        let before: Vault = format!("old:{old}").parse().unwrap();
        let rotated: Vault = format!("new:{new},old:{old}").parse().unwrap();
        let after: Vault = format!("new:{new}").parse().unwrap();
        let (content, other) = (ContentHash([7; 32]), ContentHash([8; 32]));
        let fingerprint = before.fingerprint(content);
        assert_ne!(fingerprint, content);
        assert!(before.is_fingerprint(fingerprint, content) && rotated.is_fingerprint(fingerprint, content));
        assert!(!before.is_fingerprint(fingerprint, other) && !after.is_fingerprint(fingerprint, content));
        assert_ne!(rotated.fingerprint(content), fingerprint, "the first key makes new ones");
    }

    /// By other means: HMAC of HMAC, with Python's `hmac`.
    #[test]
    fn fingerprints_are_golden() {
        let vault: Vault = "k:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=".parse().unwrap();
        let hex = vault.fingerprint(ContentHash([7; 32])).0.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex, "7f76d1fcc426be5dc3a7de13b75c1f2f7d05ad9c7e26d281335e3e076db37dc4");
    }
}
