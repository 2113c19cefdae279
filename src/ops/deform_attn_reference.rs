//! The slow obvious version of [`super::ms_deform_attn`] on float64 slices, for tests only: one loop per index of the
//! formula, no optimisation, no parallelism.

/// Sizes of one call, see [`super::deform_attn`].
#[derive(Clone, Debug)]
pub struct ReferenceShape {
    /// Batch size B.
    pub b: usize,
    /// Heads M.
    pub m: usize,
    /// Channels per head D.
    pub d: usize,
    /// Queries Q.
    pub q: usize,
    /// Points P per level.
    pub p: usize,
    /// (height, width) of each of the L levels.
    pub levels: Vec<(usize, usize)>,
}

impl ReferenceShape {
    /// S = Σ H·W.
    pub fn cells(&self) -> usize {
        self.levels.iter().map(|(h, w)| h * w).sum()
    }
}

/// value (B,S,M,D), locations (B,Q,M,L,P,2), weights (B,Q,M,L,P) -> (B,Q,M,D), all flat.
pub fn forward(shape: &ReferenceShape, value: &[f64], locations: &[f64], weights: &[f64]) -> Vec<f64> {
    let (s, l) = (shape.cells(), shape.levels.len());
    let mut out = vec![0.0; shape.b * shape.q * shape.m * shape.d];
    for b in 0..shape.b {
        for q in 0..shape.q {
            for m in 0..shape.m {
                let item = (b * shape.q + q) * shape.m + m;
                let mut start = 0;
                for (level, &(h, w)) in shape.levels.iter().enumerate() {
                    for p in 0..shape.p {
                        let point = (item * l + level) * shape.p + p;
                        let x = locations[2 * point] * w as f64 - 0.5;
                        let y = locations[2 * point + 1] * h as f64 - 0.5;
                        for d in 0..shape.d {
                            let at = |cell: usize| value[((b * s + start + cell) * shape.m + m) * shape.d + d];
                            out[item * shape.d + d] += weights[point] * bilinear(x, y, h, w, at);
                        }
                    }
                    start += h * w;
                }
            }
        }
    }
    out
}

fn bilinear(x: f64, y: f64, h: usize, w: usize, at: impl Fn(usize) -> f64) -> f64 {
    let (x0, y0) = (x.floor(), y.floor());
    let mut sum = 0.0;
    for (dy, dx) in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)] {
        let (cx, cy) = (x0 + dx, y0 + dy);
        if cx >= 0.0 && cy >= 0.0 && cx < w as f64 && cy < h as f64 {
            sum += (1.0 - (x - cx).abs()) * (1.0 - (y - cy).abs()) * at(cy as usize * w + cx as usize);
        }
    }
    sum
}
