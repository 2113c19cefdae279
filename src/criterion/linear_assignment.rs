//! The linear assignment problem on a rectangular matrix: the rows of the smaller side are assigned one by one along
//! shortest augmenting paths (Jonker and Volgenant 1987), O(min² · max). Deterministic: ties go to a free column, then
//! to the lower index.

use ndarray::ArrayView2;

use crate::{memory, Error, Result};

const NONE: usize = usize::MAX;

/// Pairs (row, column) of least total cost, min(R, C) of them, sorted by row, for `cost` (R, C).
///
/// # Errors
/// A cost is NaN or infinite, or their sum is; more costs than memory holds.
pub fn linear_assignment(cost: ArrayView2<f64>) -> Result<Vec<(usize, usize)>> {
    if cost.is_empty() {
        return Ok(Vec::new());
    }
    // A view may repeat few numbers often; the search works on a copy of them all.
    if !cost.is_standard_layout() {
        memory::require("linear_assignment", &[cost.nrows(), cost.ncols()], size_of::<f64>())?;
    }
    if let Some(at) = cost.iter().position(|value| !value.is_finite()) {
        let (row, column) = (at / cost.ncols(), at % cost.ncols());
        let value = cost[[row, column]];
        return Err(Error::Value(format!(
            "linear_assignment: cost must be finite, got {value} in row {row}, column {column}"
        )));
    }
    if cost.nrows() <= cost.ncols() {
        return Ok(shortest_augmenting_paths(cost)?.into_iter().enumerate().collect());
    }
    let row_of = shortest_augmenting_paths(cost.t())?;
    let mut pairs: Vec<_> = row_of.into_iter().enumerate().map(|(column, row)| (row, column)).collect();
    pairs.sort_unstable();
    Ok(pairs)
}

/// The column of every row of `cost` (R, C), for R ≤ C.
///
/// `row_price` and `column_price` are a feasible dual solution: cost ≥ row price + column price everywhere, with
/// equality on assigned pairs. Each row grows a tree of shortest paths over reduced costs until it meets a free column.
fn shortest_augmenting_paths(cost: ArrayView2<f64>) -> Result<Vec<usize>> {
    let (rows, columns) = cost.dim();
    // Rows in one piece: each is read once per path.
    let cost = cost.as_standard_layout();
    let (mut row_price, mut column_price) = (vec![0.0; rows], vec![0.0; columns]);
    let (mut column_of, mut row_of) = (vec![NONE; rows], vec![NONE; columns]);
    let (mut distance, mut reached_from) = (vec![0.0; columns], vec![NONE; columns]);
    let (mut open, mut tree): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());

    for start in 0..rows {
        distance.fill(f64::INFINITY);
        open.clear();
        open.extend(0..columns);
        tree.clear();
        let (mut row, mut length) = (start, 0.0);
        let free = loop {
            let mut nearest = 0;
            let reduced = length - row_price[row];
            let of_row = cost.row(row);
            for (at, &column) in open.iter().enumerate() {
                let through = reduced + of_row[column] - column_price[column];
                if through < distance[column] {
                    distance[column] = through;
                    reached_from[column] = row;
                }
                let best = open[nearest];
                let is_free = |column: usize| row_of[column] == NONE;
                if (distance[column], is_free(best), column) < (distance[best], is_free(column), best) {
                    nearest = at;
                }
            }
            let column = open.swap_remove(nearest);
            length = distance[column];
            if !length.is_finite() {
                return Err(Error::Value("linear_assignment: the sum of the costs overflows".into()));
            }
            if row_of[column] == NONE {
                break column;
            }
            tree.push(column);
            row = row_of[column];
        };

        row_price[start] += length;
        for &column in &tree {
            row_price[row_of[column]] += length - distance[column];
            column_price[column] -= length - distance[column];
        }
        let mut column = free;
        loop {
            let row = reached_from[column];
            row_of[column] = row;
            std::mem::swap(&mut column_of[row], &mut column);
            if row == start {
                break;
            }
        }
    }
    Ok(column_of)
}

#[cfg(test)]
mod tests {
    use ndarray::{arr2, Array2};

    use super::*;

    /// Least cost over all assignments of rows to distinct columns, for rows ≤ columns.
    fn exhaustive(cost: ArrayView2<f64>, row: usize, used: u32) -> f64 {
        if row == cost.nrows() {
            return 0.0;
        }
        let free = (0..cost.ncols()).filter(|column| used & (1 << column) == 0);
        free.map(|c| cost[[row, c]] + exhaustive(cost, row + 1, used | 1 << c)).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn equals_exhaustive_search_in_both_orientations() {
        let mut state = 1u64;
        let mut random = move |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        for trial in 0..2000 {
            let (rows, columns) = (random(5) as usize, random(6) as usize);
            let (rows, columns) = (rows.min(columns), rows.max(columns));
            // Few distinct values in every other trial: ties.
            let levels = if trial % 2 == 0 { 3 } else { 1_000_000 };
            let cost = Array2::from_shape_simple_fn((rows, columns), || random(levels) as f64 - 1.0);
            let pairs = linear_assignment(cost.view()).unwrap();
            let total: f64 = pairs.iter().map(|&(r, c)| cost[[r, c]]).sum();
            assert_eq!(total, exhaustive(cost.view(), 0, 0));
            assert!(pairs.iter().enumerate().all(|(row, pair)| pair.0 == row));

            let pairs = linear_assignment(cost.t()).unwrap();
            assert_eq!(pairs.iter().map(|&(c, r)| cost[[r, c]]).sum::<f64>(), total);
            assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0));
        }
    }

    #[test]
    fn empty_sides_are_ordinary() {
        for sides in [(0, 5), (5, 0), (0, 0), (usize::MAX >> 1, 0)] {
            assert_eq!(linear_assignment(Array2::zeros(sides).view()).unwrap(), []);
        }
    }

    #[test]
    fn unusable_costs_are_refused() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let text = linear_assignment(arr2(&[[0.0, 1.0], [2.0, bad]]).view()).unwrap_err().to_string();
            assert!(text.contains("row 1, column 1"), "{text}");
        }
    }
}
