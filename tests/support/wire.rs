//! AMQP 0-9-1 by hand, for what no client library would send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::World;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;

/// A publisher's connection with one channel, confirms on.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
}

fn short(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn long(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat()
}

fn method(class: u16, id: u16) -> Vec<u8> {
    [class.to_be_bytes(), id.to_be_bytes()].concat()
}

impl Wire {
    /// Connects as administrator.
    pub fn connect(world: &World) -> Self {
        let url = world.amqp_url();
        let (login, address) = url.split_once("://").unwrap().1.split_once('@').unwrap();
        let (address, vhost) = address.split_once('/').unwrap();
        let login = format!("\0{}", login.replacen(':', "\0", 1));
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut wire = Self { stream };
        wire.stream.write_all(b"AMQP\0\0\x09\x01").unwrap();
        wire.expect(10, 10);
        let start_ok = [method(10, 11), long(""), short("PLAIN"), long(login), short("en_US")].concat();
        wire.send(METHOD, 0, &start_ok);
        let tune = wire.expect(10, 30);
        // The server's limits, and no heartbeats.
        wire.send(METHOD, 0, &[&method(10, 31), &tune[..6], &[0, 0]].concat());
        wire.send(METHOD, 0, &[method(10, 40), short(vhost), short(""), vec![0]].concat());
        wire.expect(10, 41);
        wire.send(METHOD, 1, &[method(20, 10), short("")].concat());
        wire.expect(20, 11);
        wire.send(METHOD, 1, &[method(85, 10), vec![0]].concat());
        wire.expect(85, 11);
        wire
    }

    /// Publishes with these property flags and properties, byte for byte; says whether the broker took it.
    pub fn publish(
        &mut self,
        exchange: &str,
        key: &[u8],
        flags: u16,
        properties: &[u8],
        body: &[u8],
    ) -> bool {
        self.send(METHOD, 1, &[method(60, 40), vec![0, 0], short(exchange), short(key), vec![0]].concat());
        let length = (body.len() as u64).to_be_bytes();
        let header = [&[0, 60, 0, 0][..], &length, &flags.to_be_bytes(), properties].concat();
        self.send(HEADER, 1, &header);
        self.send(BODY, 1, body);
        self.receive().0 == (60, 80)
    }

    fn send(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let frame = [&[kind][..], &channel.to_be_bytes(), &long(payload), &[FRAME_END]].concat();
        self.stream.write_all(&frame).unwrap();
    }

    /// The next method and its arguments.
    fn receive(&mut self) -> ((u16, u16), Vec<u8>) {
        let mut start = [0; 7];
        self.stream.read_exact(&mut start).unwrap();
        let length = u32::from_be_bytes(start[3..].try_into().unwrap());
        let mut payload = vec![0; usize::try_from(length).unwrap() + 1];
        self.stream.read_exact(&mut payload).unwrap();
        let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
        ((number(0), number(2)), payload[4..payload.len() - 1].to_vec())
    }

    fn expect(&mut self, class: u16, id: u16) -> Vec<u8> {
        let (got, arguments) = self.receive();
        assert_eq!(got, (class, id), "{}", String::from_utf8_lossy(&arguments));
        arguments
    }
}
