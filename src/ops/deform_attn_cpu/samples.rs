//! Where the points of one (query, head) lie: four cells and four weights for each. This part is the same for the
//! plain and the fused operator from the cell coordinates on, and written as loops over eight lanes of local arrays,
//! which become vector instructions.

use std::ops::Range;

use crate::ops::simd::instruction_set::InstructionSet;
use crate::ops::simd::numbers::{Element, Real};

/// Sizes of one call, checked by the registration; letters as in `cuda/registration/deform_attn.h`.
pub(super) struct Sizes {
    pub(super) b: usize,
    pub(super) s: usize,
    pub(super) m: usize,
    pub(super) d: usize,
    pub(super) q: usize,
    pub(super) p: usize,
    pub(super) levels: Vec<Level>,
}

/// One feature map; `start` is its first cell among the S. Cells are counted in `i32`.
pub(super) struct Level {
    pub(super) h: i32,
    pub(super) w: i32,
    pub(super) start: i32,
}

impl Sizes {
    /// L·P.
    pub(super) fn points(&self) -> usize {
        self.levels.len() * self.p
    }

    /// The cells of some consecutive levels, among the S.
    pub(super) fn cells(&self, levels: Range<usize>) -> Range<usize> {
        let start = |level: usize| self.levels.get(level).map_or(self.s, |level| level.start as usize);
        start(levels.start)..start(levels.end)
    }

    /// B·Q·M, the (image, query, head) triples.
    pub(super) fn items(&self) -> usize {
        self.b * self.q * self.m
    }
}

/// Numbers in the arithmetic type, or in the storage type of the value.
pub(super) enum Stored<'a, E: Element> {
    Real(&'a [E::Real]),
    Element(&'a [E]),
}

impl<E: Element> Stored<'_, E> {
    #[inline(always)]
    fn read<I: InstructionSet>(&self, start: usize, to: &mut [E::Real]) {
        match self {
            Self::Real(from) => to.copy_from_slice(&from[start..start + to.len()]),
            Self::Element(from) => {
                let (blocks, rest) = from[start..start + to.len()].as_chunks::<LANES>();
                let (to_blocks, to_rest) = to.as_chunks_mut::<LANES>();
                for (from, to) in blocks.iter().zip(to_blocks) {
                    *to = E::load::<I, LANES>(from);
                }
                for (from, to) in rest.iter().zip(to_rest) {
                    [*to] = E::load::<I, 1>(&[*from]);
                }
            }
        }
    }
}

/// The inputs that say where to sample and how much each point counts.
pub(super) enum Points<'a, E: Element> {
    /// `ms_deform_attn`: locations (B,Q,M,L,P,2) in [0, 1] and attention weights (B,Q,M,L,P).
    Located { locations: &'a [E::Real], weights: &'a [E::Real] },
    /// `ms_deform_attn_fused`: references (B,Q,L,`size`) as (x, y) or (cx, cy, w, h), offsets and logits.
    Offset { references: &'a [E::Real], size: usize, offsets: Stored<'a, E>, logits: Stored<'a, E> },
}

impl<E: Element> Points<'_, E> {
    /// Attention weights of one item, `count` of them: as given, or the softmax of its logits.
    #[inline(always)]
    pub(super) fn attention<I: InstructionSet>(&self, item: usize, count: usize, to: &mut [Lanes<E::Real>]) {
        let flat = to.as_flattened_mut();
        match self {
            Self::Located { weights, .. } => flat[..count].copy_from_slice(&weights[item * count..][..count]),
            Self::Offset { logits, .. } => {
                logits.read::<I>(item * count, &mut flat[..count]);
                flat[count..].fill(E::Real::NEG_INFINITY);
                softmax(to);
            }
        }
    }
}

// Loops, not closures: what a closure holds is compiled for the baseline where it is not inlined.
#[inline(always)]
fn softmax<T: Real>(x: &mut [Lanes<T>]) {
    let mut max = [T::NEG_INFINITY; LANES];
    for x in x.iter() {
        for l in 0..LANES {
            max[l] = if x[l] > max[l] { x[l] } else { max[l] };
        }
    }
    let mut largest = max[0];
    for m in max {
        largest = if m > largest { m } else { largest };
    }
    let mut sum = [T::ZERO; LANES];
    for x in x.iter_mut() {
        for l in 0..LANES {
            x[l] = (x[l] - largest).exp();
            sum[l] += x[l];
        }
    }
    let mut total = T::ZERO;
    for sum in sum {
        total += sum;
    }
    let scale = T::ONE / total;
    for x in x.as_flattened_mut() {
        *x = *x * scale;
    }
}

/// Points are handled this many at a time.
pub(super) const LANES: usize = 8;
pub(super) type Lanes<T> = [T; LANES];

/// What is the same for the points of every item.
#[derive(Clone, Copy)]
struct Maps<T> {
    width: Lanes<T>,
    height: Lanes<T>,
    columns: Lanes<i32>,
    rows: Lanes<i32>,
    start: Lanes<i32>,
}

/// Eight points of an item.
#[derive(Clone, Copy)]
pub(super) struct Located<T> {
    /// Upper left, upper right, lower left, lower right cell among the S. A corner outside the map is moved to the
    /// inside corner of the same point and weighs nothing. The first is [`Self::NONE`] where no corner is inside.
    pub(super) cells: [Lanes<i32>; 4],
    /// Bilinear weight · attention weight of each corner.
    pub(super) weights: [Lanes<T>; 4],
    /// Distance from the left and the upper corners, in cells.
    pub(super) fx: Lanes<T>,
    pub(super) fy: Lanes<T>,
    /// 1 where the corner is inside the map, else 0.
    pub(super) inside: [Lanes<T>; 4],
}

impl<T: Real> Located<T> {
    /// No corner inside, NaN coordinates included: the point contributes nothing and has no gradient.
    pub(super) const NONE: i32 = -1;

    fn nowhere() -> Self {
        let (none, zeros) = ([Self::NONE; LANES], [T::ZERO; LANES]);
        Self { cells: [none; 4], weights: [zeros; 4], fx: zeros, fy: zeros, inside: [zeros; 4] }
    }
}

/// The points of one (query, head), the last lanes empty; reused from one to the next.
pub(super) struct Samples<T> {
    count: usize,
    points_per_level: usize,
    levels: Vec<[T; 2]>,
    maps: Vec<Maps<T>>,
    pairs: Vec<Lanes<[T; 2]>>,
    origin: Vec<Lanes<[T; 2]>>,
    step: Vec<Lanes<[T; 2]>>,
    /// Attention weights.
    pub(super) attention: Vec<Lanes<T>>,
    pub(super) located: Vec<Located<T>>,
}

impl<T: Real> Samples<T> {
    pub(super) fn new(sizes: &Sizes) -> Self {
        let count = sizes.points();
        let blocks = count.div_ceil(LANES);
        let maps = (0..blocks).map(|block| Maps::new(sizes, block)).collect();
        Self {
            count,
            points_per_level: sizes.p,
            levels: sizes.levels.iter().map(|level| [T::from_index(level.w), T::from_index(level.h)]).collect(),
            maps,
            pairs: vec![[[T::ZERO; 2]; LANES]; blocks],
            origin: vec![[[T::ZERO; 2]; LANES]; blocks],
            step: vec![[[T::ZERO; 2]; LANES]; blocks],
            attention: vec![[T::ZERO; LANES]; blocks],
            located: vec![Located::nowhere(); blocks],
        }
    }

    /// Width and height of the map that point `i` lies in.
    #[inline(always)]
    pub(super) fn map_size(&self, i: usize) -> (T, T) {
        let maps = &self.maps[i / LANES];
        (maps.width[i % LANES], maps.height[i % LANES])
    }

    /// Takes the points of `item` = (image, query, head).
    #[inline(always)]
    pub(super) fn take<I: InstructionSet, E: Element<Real = T>>(
        &mut self,
        points: &Points<E>,
        item: usize,
        heads: usize,
    ) {
        let n = self.count;
        points.attention::<I>(item, n, &mut self.attention);
        let flat = &mut self.pairs.as_flattened_mut().as_flattened_mut()[..2 * n];
        match points {
            Points::Located { locations, .. } => {
                flat.copy_from_slice(&locations[2 * item * n..][..2 * n]);
                for block in 0..self.maps.len() {
                    let (maps, pairs) = (&self.maps[block], self.pairs[block]);
                    let x = std::array::from_fn(|l| pairs[l][0] * maps.width[l] - T::HALF);
                    let y = std::array::from_fn(|l| pairs[l][1] * maps.height[l] - T::HALF);
                    self.located[block] = maps.locate(x, y, &self.attention[block]);
                }
            }
            Points::Offset { references, size, offsets, .. } => {
                offsets.read::<I>(2 * item * n, flat);
                let row = self.levels.len() * size;
                self.set_origins(&references[item / heads * row..][..row], *size);
                for block in 0..self.maps.len() {
                    let (pairs, origin, step) = (self.pairs[block], self.origin[block], self.step[block]);
                    let x = std::array::from_fn(|l| origin[l][0] + pairs[l][0] * step[l][0]);
                    let y = std::array::from_fn(|l| origin[l][1] + pairs[l][1] * step[l][1]);
                    self.located[block] = self.maps[block].locate(x, y, &self.attention[block]);
                }
            }
        }
    }

    /// reference · W − ½ and 1 per cell of offset, or centre · W − ½ and size / 2P · W.
    #[inline(always)]
    fn set_origins(&mut self, references: &[T], size: usize) {
        let p = self.points_per_level;
        let half_step = T::HALF / T::from_size(p);
        let origins = self.origin.as_flattened_mut().chunks_exact_mut(p);
        let steps = self.step.as_flattened_mut().chunks_exact_mut(p);
        let levels = self.levels.iter().zip(references.chunks_exact(size));
        for (([w, h], reference), (origin, step)) in levels.zip(origins.zip(steps)) {
            origin.fill([reference[0] * *w - T::HALF, reference[1] * *h - T::HALF]);
            step.fill(match size {
                2 => [T::ONE, T::ONE],
                _ => [reference[2] * half_step * *w, reference[3] * half_step * *h],
            });
        }
    }
}

impl<T: Real> Maps<T> {
    /// Of the eight points from 8 · `block` on. Beyond the last point, a map of no cells.
    fn new(sizes: &Sizes, block: usize) -> Self {
        let level = |lane: usize| sizes.levels.get((block * LANES + lane) / sizes.p);
        let columns = std::array::from_fn(|lane| level(lane).map_or(0, |level| level.w));
        let rows = std::array::from_fn(|lane| level(lane).map_or(0, |level| level.h));
        let start = std::array::from_fn(|lane| level(lane).map_or(0, |level| level.start));
        Self { width: columns.map(T::from_index), height: rows.map(T::from_index), columns, rows, start }
    }

    /// `x` and `y` are cell coordinates: whole numbers at the centres of cells. The four around a point:
    ///
    /// ```text
    ///                  x0              x0 + 1
    ///   upper    y0     0 - - - fx - - - 1       weight of 0: (1 − fx) · (1 − fy)
    ///                   |        :       |                 1:      fx  · (1 − fy)
    ///                   fy       :       |                 2: (1 − fx) ·      fy
    ///                   | . . (x, y)     |                 3:      fx  ·      fy
    ///                   |                |       each · attention
    ///   lower    y0 + 1 2 - - - - - - - -3
    /// ```
    ///
    /// With x0 = −1 the left cells lie outside the map: 0 becomes 1, 2 becomes 3, and they weigh nothing.
    #[inline(always)]
    fn locate(&self, x: Lanes<T>, y: Lanes<T>, attention: &Lanes<T>) -> Located<T> {
        let mut to = Located::nowhere();
        for l in 0..LANES {
            let (columns, rows) = (self.columns[l], self.rows[l]);
            // `&`, not `&&`: no branches. A map of no cells has no inside, as a NaN has none.
            let in_map =
                (x[l] > T::MINUS_ONE) & (y[l] > T::MINUS_ONE) & (x[l] < self.width[l]) & (y[l] < self.height[l]);
            let in_map = in_map & (columns > 0);
            let (px, py) = (if in_map { x[l] } else { T::ZERO }, if in_map { y[l] } else { T::ZERO });
            let ((x0, left), (y0, top)) = (floor(px), floor(py));
            let (fx, fy) = (px - left, py - top);
            let (in_left, in_right) = (in_map & (x0 >= 0), in_map & (x0 + 1 < columns));
            let (in_top, in_bottom) = (y0 >= 0, y0 + 1 < rows);
            let (xa, xb) = (x0.max(0), (x0 + 1).min(columns - 1));
            let upper = self.start[l] + y0.max(0) * columns;
            let lower = self.start[l] + (y0 + 1).min(rows - 1) * columns;
            let flag = |inside: bool| if inside { T::ONE } else { T::ZERO };
            let (i0, i1) = (flag(in_left & in_top), flag(in_right & in_top));
            let (i2, i3) = (flag(in_left & in_bottom), flag(in_right & in_bottom));
            let (gx, above, below) = (T::ONE - fx, (T::ONE - fy) * attention[l], fy * attention[l]);
            to.cells[0][l] = if in_map { upper + xa } else { Located::<T>::NONE };
            (to.cells[1][l], to.cells[2][l], to.cells[3][l]) = (upper + xb, lower + xa, lower + xb);
            (to.inside[0][l], to.inside[1][l], to.inside[2][l], to.inside[3][l]) = (i0, i1, i2, i3);
            (to.weights[0][l], to.weights[1][l]) = (above * gx * i0, above * fx * i1);
            (to.weights[2][l], to.weights[3][l]) = (below * gx * i2, below * fx * i3);
            (to.fx[l], to.fy[l]) = (fx, fy);
        }
        to
    }
}

/// ⌊x⌋ as a whole number and as a real one, without a library call where there is no instruction for it.
#[inline(always)]
fn floor<T: Real>(x: T) -> (i32, T) {
    // SAFETY: only coordinates inside a map come here.
    let truncated = unsafe { x.truncate() };
    let whole = T::from_index(truncated);
    let less = whole > x;
    (truncated - i32::from(less), if less { whole - T::ONE } else { whole })
}
