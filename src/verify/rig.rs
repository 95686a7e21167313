//! The device under test, and its inputs.

use super::Depth;
use crate::cpu::random::philox;
use crate::gpu::{ReadBack, workgroup};
use crate::regression::device::Gpu;
use crate::{Arithmetic, Error, Rule, Span};
use wgpu::util::DeviceExt;
use wgpu::{BufferUsages, CommandEncoder, ComputePass};

/// A device under test.
#[derive(Debug)]
pub struct Rig<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// The extent of the suite.
    pub depth: Depth,
    /// The seed of all inputs.
    pub seed: u64,
    /// The arithmetic of the optimizers: [`Arithmetic::Fast`] is compared within bounds, the others bit for bit.
    pub arithmetic: Arithmetic,
}

/// The poison around a [guarded](Rig::guarded) span, which must not change.
pub const GUARD: usize = 64;
const POISON: u32 = 0x7fc0_dead;

impl Rig<'_> {
    /// Random numbers for the case of this name, which depend on the seed and the name alone.
    pub fn random(&self, case: &str) -> Random {
        Random::new(self.seed, case)
    }

    /// Whether bits are compared instead of bounds.
    pub fn compares_bits(&self) -> bool {
        self.arithmetic.is_reproducible()
    }

    /// Whether the whole suite runs.
    pub fn full(&self) -> bool {
        matches!(self.depth, Depth::Full | Depth::Exhaustive)
    }

    /// Whether only the cases of a seeded fault run.
    pub fn least(&self) -> bool {
        matches!(self.depth, Depth::Least { .. })
    }

    /// Threads of a workgroup of an update; each updates a vector of four.
    pub fn workgroup(&self) -> usize {
        workgroup(&self.gpu.device) as usize
    }

    /// Whether the case of this name runs.
    pub fn includes(&self, name: &str) -> bool {
        match self.depth {
            Depth::Least { cases } => name.contains(cases),
            Depth::Quick | Depth::Full | Depth::Exhaustive => true,
        }
    }

    /// The rules whose cases run.
    pub fn of_rules(&self, mut all: Vec<(&'static str, Rule)>) -> Vec<(&'static str, Rule)> {
        all.retain(|(name, _)| self.includes(name));
        all
    }

    /// A span over a buffer of its own with these values.
    pub fn span(&self, values: &[f32]) -> Span {
        // A buffer cannot be empty; the span has no elements either way.
        let contents = if values.is_empty() { &[0.0] } else { values };
        let buffer = self.gpu.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(contents),
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        });
        Span::new(&buffer, 0, values.len() as u64)
    }

    /// A span with these values between two runs of poison.
    pub fn guarded(&self, values: &[f32]) -> Span {
        let poison = [f32::from_bits(POISON); GUARD];
        let all = self.span(&[&poison, values, &poison].concat());
        Span::new(&all.buffer, GUARD as u64 * 4, values.len() as u64)
    }

    /// The words around a guarded span, and their original values.
    pub async fn guards(&self, span: &Span) -> Result<(Vec<u32>, Vec<u32>), Error> {
        let before = Span::new(&span.buffer, 0, GUARD as u64);
        let behind = Span::new(&span.buffer, span.offset + span.len * 4, GUARD as u64);
        let found = self.read(&[&before, &behind]).await?.concat();
        let words: Vec<u32> = found.iter().map(|x| x.to_bits()).collect();
        let expected = vec![POISON; words.len()];
        Ok((words, expected))
    }

    /// An uninitialized span of `len` elements.
    pub fn poisoned(&self, len: usize) -> Span {
        self.span(&vec![f32::from_bits(POISON); len])
    }

    /// Overwrites a span.
    pub fn write(&self, span: &Span, values: &[f32]) {
        if !values.is_empty() {
            self.gpu.queue.write_buffer(&span.buffer, span.offset, bytemuck::cast_slice(values));
        }
    }

    /// Submits one pass and waits for it.
    pub async fn run(&self, record: impl FnOnce(&mut ComputePass)) -> Result<(), Error> {
        self.submit(|encoder| {
            record(&mut encoder.begin_compute_pass(&Default::default()));
            Ok(())
        })
        .await
    }

    /// Submits the encoder and waits.
    pub async fn submit(
        &self,
        record: impl FnOnce(&mut CommandEncoder) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        record(&mut encoder)?;
        self.gpu.submit(encoder).await
    }

    /// Reads these spans.
    pub async fn read(&self, spans: &[&Span]) -> Result<Vec<Vec<f32>>, Error> {
        let bytes = spans.iter().map(|span| span.len * 4).sum();
        let mut staging = ReadBack::new(&self.gpu.device, bytes)?;
        self.submit(|encoder| {
            spans.iter().filter(|span| span.len > 0).try_for_each(|span| staging.copy(encoder, span))
        })
        .await?;
        let all: Vec<f32> = self.gpu.wait(staging.read()).await?;
        let mut rest = all.as_slice();
        let mut take = |span: &&Span| {
            let (values, behind) = rest.split_at(span.len as usize);
            rest = behind;
            values.to_vec()
        };
        Ok(spans.iter().map(&mut take).collect())
    }

    /// Reads lists of consecutive spans in one read-back: the values of each list.
    pub async fn read_joined(&self, lists: &[&[Span]]) -> Result<Vec<Vec<f32>>, Error> {
        let all: Vec<&Span> = lists.iter().copied().flatten().collect();
        let mut values = self.read(&all).await?.into_iter();
        let mut joined = |spans: &&[Span]| values.by_ref().take(spans.len()).flatten().collect();
        Ok(lists.iter().map(&mut joined).collect())
    }
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    name: u64,
    key: [u32; 2],
    drawn: u64,
    left: Vec<u32>,
}

impl Random {
    /// The stream of this seed and name.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a of the name.
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let name = name.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
        let key = [seed as u32, (seed >> 32) as u32];
        Random { name, key, drawn: 0, left: Vec::new() }
    }

    /// The next 32 bits.
    pub fn word(&mut self) -> u32 {
        if self.left.is_empty() {
            let counter = [self.drawn, self.name].map(|x| [x as u32, (x >> 32) as u32]);
            self.left = philox(counter.concat().try_into().expect("four words"), self.key).to_vec();
            self.drawn += 1;
        }
        self.left.pop().expect("there is one left")
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.word()) * u64::from(n)) >> 32) as u32
    }

    /// An integer within ±`most`.
    pub fn integer(&mut self, most: u32) -> f32 {
        self.below(2 * most + 1) as f32 - most as f32
    }

    /// Uniform within ±1.
    pub fn unit(&mut self) -> f32 {
        self.word().cast_signed() as f32 / 2f32.powi(31)
    }

    /// `len` values within ±1.
    pub fn units(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.unit()).collect()
    }

    /// Any sign, any significand, and a size within 2^±`octaves`; one in sixteen is a zero of either sign,
    /// a subnormal number or the smallest normal one.
    pub fn wide(&mut self, octaves: u32) -> f32 {
        let (word, sign) = (self.word(), self.word() & 1 << 31);
        if word.is_multiple_of(16) {
            let small = [0, 1, 0x0040_0000, 0x007f_ffff, 0x0080_0000];
            return f32::from_bits(sign | small[self.below(5) as usize]);
        }
        let exponent = 127 - octaves + self.below(2 * octaves);
        f32::from_bits(sign | exponent << 23 | word >> 9)
    }

    /// `len` values of wide magnitudes.
    pub fn wides(&mut self, len: usize, octaves: u32) -> Vec<f32> {
        (0..len).map(|_| self.wide(octaves)).collect()
    }
}
