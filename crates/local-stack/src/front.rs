//! A front for a broker, for tests of what happens between a client and its broker.
//!
//! Clients that are given its address reach the broker through it alone, since it names itself in the broker's place. Then it can
//! do what a network and a cluster do: reset connections, swallow answers, and answer as a broker does that is being let into
//! its cluster again, with topics and no brokers.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinSet,
};

const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
/// The first version of metadata whose lists and texts are compact.
const COMPACT_SINCE: i16 = 9;
/// Far above any request or answer of a test.
const FRAME_MAX: usize = 64 * 1024 * 1024;

/// A running front. It ends when dropped.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    state: Arc<State>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    address: SocketAddr,
    fenced: AtomicBool,
    answers: AtomicU64,
    /// Whose next question about offsets is the last that its connection ever asks, and of how many connections.
    deaf_to: Mutex<(String, u64)>,
    silenced: watch::Sender<u64>,
    mute: AtomicBool,
    resets: watch::Sender<u64>,
}

impl Front {
    /// A front for the broker at this address.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(broker: String) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (resets, silenced) = (watch::Sender::new(0), watch::Sender::new(0));
        let state = Arc::new(State {
            address,
            fenced: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            deaf_to: Mutex::default(),
            silenced,
            mute: AtomicBool::new(false),
            resets,
        });
        let mut server = JoinSet::new();
        server.spawn(accept(listener, broker, Arc::clone(&state)));
        Ok(Self { address, state, _server: server })
    }

    /// What clients are given as the broker's address.
    pub fn brokers(&self) -> String {
        self.address.to_string()
    }

    /// Closes all connections; new ones are taken.
    pub fn reset(&self) {
        self.state.resets.send_modify(|resets| *resets += 1);
    }

    /// From now on the broker is, or is not, one that is being let in again: it names no brokers.
    pub fn set_fenced(&self, fenced: bool) {
        self.state.fenced.store(fenced, Ordering::Relaxed);
    }

    /// How many requests for metadata were answered.
    pub fn metadata_answers(&self) -> u64 {
        self.state.answers.load(Ordering::Relaxed)
    }

    /// Connections of clients with this `client.id` that ask for offsets are not heard from then on, so many of them; what they ask
    /// is never answered.
    pub fn be_deaf_to(&self, client: &str, connections: u64) {
        *self.state.deaf_to() = (client.to_owned(), connections);
    }

    /// How many connections of [`Front::be_deaf_to`] have not come yet.
    pub fn still_to_come(&self) -> u64 {
        self.state.deaf_to().1
    }

    /// From now on nothing is answered, or all is again; the broker still gets what comes.
    pub fn set_mute(&self, mute: bool) {
        self.state.mute.store(mute, Ordering::Relaxed);
    }

    /// Nothing is answered any more on the connections that stand now; the broker still gets what comes.
    pub fn silence(&self) {
        self.state.silenced.send_modify(|silenced| *silenced += 1);
    }
}

impl State {
    fn deaf_to(&self) -> MutexGuard<'_, (String, u64)> {
        self.deaf_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_deaf_to(&self, asking: &[u8]) -> bool {
        let (client, left) = &mut *self.deaf_to();
        let chosen = *left > 0 && client.as_bytes() == asking;
        *left -= u64::from(chosen);
        chosen
    }
}

async fn accept(listener: TcpListener, broker: String, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (broker, state) = (broker.clone(), Arc::clone(&state));
        connections.spawn(async move {
            let mut reset = state.resets.subscribe();
            let serving = async {
                let broker = TcpStream::connect(broker).await?;
                serve(client, broker, &state).await
            };
            tokio::select! {
                _ = reset.changed() => {}
                // A connection that breaks is what both sides see.
                _ = serving => {}
            }
        });
    }
}

/// Versions of requests whose answers are changed, by correlation.
type Asked = Mutex<HashMap<i32, (i16, i16)>>;

async fn serve(client: TcpStream, broker: TcpStream, state: &State) -> io::Result<()> {
    let (asked, silenced) = (Asked::default(), state.silenced.subscribe());
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    tokio::select! {
        ended = requests(from_client, to_broker, (state, &asked)) => ended,
        ended = answers(from_broker, to_client, (state, &asked, silenced)) => ended,
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (state, asked): (&State, &Asked),
) -> io::Result<()> {
    let mut deaf = false;
    loop {
        let frame = read_frame(&mut from).await?;
        let mut header = Reader(&frame);
        let (key, version, correlation) = (header.i16()?, header.i16()?, header.i32()?);
        if key == METADATA || key == FIND_COORDINATOR {
            asked.lock().unwrap_or_else(PoisonError::into_inner).insert(correlation, (key, version));
        }
        if key == LIST_OFFSETS && !deaf {
            let length = usize::try_from(header.i16()?).unwrap_or(0);
            deaf = state.is_deaf_to(header.bytes(length)?);
        }
        if !deaf {
            write_frame(&mut to, &frame).await?;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (state, asked, silenced): (&State, &Asked, watch::Receiver<u64>),
) -> io::Result<()> {
    loop {
        let frame = read_frame(&mut from).await?;
        if silenced.has_changed().unwrap_or(false) || state.mute.load(Ordering::Relaxed) {
            // Until the connection is closed, or all are heard again.
            continue;
        }
        let correlation = Reader(&frame).i32()?;
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation);
        let frame = match asked {
            Some((METADATA, version)) => metadata(&frame, version, state)?,
            Some((_, version)) => coordinator(&frame, version, state.address)?,
            None => frame,
        };
        write_frame(&mut to, &frame).await?;
        if asked.is_some_and(|(key, _)| key == METADATA) {
            state.answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn read_frame(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = usize::try_from(from.read_i32().await?).ok().filter(|length| *length <= FRAME_MAX);
    let mut frame = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write_frame(to: &mut OwnedWriteHalf, frame: &[u8]) -> io::Result<()> {
    let length = i32::try_from(frame.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_be_bytes(), frame].concat()).await
}

/// The answer with ourselves as the only broker, or with none.
fn metadata(frame: &[u8], version: i16, state: &State) -> io::Result<Vec<u8>> {
    let compact = version >= COMPACT_SINCE;
    let mut reader = Reader(frame);
    // Correlation, no tags, throttle time.
    reader.skip(4 + usize::from(compact) + if version >= 3 { 4 } else { 0 })?;
    let mut answer = frame.get(..frame.len() - reader.0.len()).unwrap_or_default().to_vec();
    let count = if compact { reader.varint()?.saturating_sub(1) } else { reader.length_i32()? };
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(reader.i32()?);
        reader.text(compact)?;
        reader.skip(4)?;
        if version >= 1 {
            reader.text(compact)?;
        }
        reader.skip(usize::from(compact))?;
    }
    if state.fenced.load(Ordering::Relaxed) {
        nodes.clear();
    }
    let (host, port) = (state.address.ip().to_string(), i32::from(state.address.port()));
    put_length(&mut answer, nodes.len(), compact);
    for node in nodes {
        answer.extend(node.to_be_bytes());
        put_text(&mut answer, &host, compact);
        answer.extend(port.to_be_bytes());
        match (compact, version) {
            // No rack, no tags.
            (true, _) => answer.extend([0, 0]),
            (false, 1..) => answer.extend((-1_i16).to_be_bytes()),
            (false, _) => {}
        }
    }
    answer.extend(reader.0);
    Ok(answer)
}

/// The answer with ourselves as the coordinator. Our clients ask in versions up to 2.
fn coordinator(frame: &[u8], version: i16, address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut reader = Reader(frame);
    reader.skip(4 + if version >= 1 { 4 } else { 0 })?;
    let error = reader.i16()?;
    if version >= 1 {
        reader.text(false)?;
    }
    if error != 0 || version > 2 {
        return Ok(frame.to_vec());
    }
    reader.skip(4)?;
    let mut answer = frame.get(..frame.len() - reader.0.len()).unwrap_or_default().to_vec();
    put_text(&mut answer, &address.ip().to_string(), false);
    answer.extend(i32::from(address.port()).to_be_bytes());
    Ok(answer)
}

fn put_length(answer: &mut Vec<u8>, length: usize, compact: bool) {
    if compact {
        // One byte: there are never many.
        answer.push(u8::try_from(length + 1).unwrap_or(1));
    } else {
        answer.extend(i32::try_from(length).unwrap_or(0).to_be_bytes());
    }
}

fn put_text(answer: &mut Vec<u8>, text: &str, compact: bool) {
    if compact {
        answer.push(u8::try_from(text.len() + 1).unwrap_or(1));
    } else {
        answer.extend(i16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    }
    answer.extend(text.as_bytes());
}

/// What is left of a frame.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn skip(&mut self, count: usize) -> io::Result<()> {
        self.bytes(count).map(|_| ())
    }

    fn i16(&mut self) -> io::Result<i16> {
        Ok(i16::from_be_bytes(self.bytes(2)?.try_into().map_err(io::Error::other)?))
    }

    fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.bytes(4)?.try_into().map_err(io::Error::other)?))
    }

    fn length_i32(&mut self) -> io::Result<usize> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }

    fn varint(&mut self) -> io::Result<usize> {
        let (mut value, mut shift) = (0_usize, 0_u32);
        for byte in self.0.iter().take(5).copied() {
            self.skip(1)?;
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    /// A text, or none.
    fn text(&mut self, compact: bool) -> io::Result<()> {
        let length = if compact {
            self.varint()?.saturating_sub(1)
        } else {
            usize::try_from(self.i16()?).unwrap_or(0)
        };
        self.skip(length)
    }
}
