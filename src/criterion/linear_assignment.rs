//! The linear assignment problem on a rectangular matrix: the rows of the smaller side are assigned one by one along
//! shortest augmenting paths (Jonker and Volgenant 1987), O(min² · max). Deterministic: ties go to a free column, then
//! to the lower index.

use crate::{Error, Result};

const NONE: usize = usize::MAX;

/// Pairs (row, column) of least total cost, min(`rows`, `columns`) of them, sorted by row.
///
/// `cost` holds `rows` × `columns` numbers, row after row.
///
/// # Errors
/// A cost is NaN or infinite, or there are not `rows` × `columns` of them.
pub fn linear_assignment(cost: &[f64], rows: usize, columns: usize) -> Result<Vec<(usize, usize)>> {
    if rows.checked_mul(columns) != Some(cost.len()) {
        return Err(Error::argument("linear_assignment", "cost", format!("{rows} x {columns} numbers"), cost.len()));
    }
    if cost.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(at) = cost.iter().position(|value| !value.is_finite()) {
        return Err(Error::Value(format!(
            "linear_assignment: cost must be finite, got {} in row {}, column {}",
            cost[at],
            at / columns,
            at % columns
        )));
    }
    if rows <= columns {
        return Ok(shortest_augmenting_paths(cost, rows, columns)?.into_iter().enumerate().collect());
    }
    let transposed: Vec<f64> = (0..columns).flat_map(|c| (0..rows).map(move |r| cost[r * columns + c])).collect();
    let row_of = shortest_augmenting_paths(&transposed, columns, rows)?;
    let mut pairs: Vec<_> = row_of.into_iter().enumerate().map(|(column, row)| (row, column)).collect();
    pairs.sort_unstable();
    Ok(pairs)
}

/// The column of every row, for `rows` ≤ `columns`.
///
/// `row_price` and `column_price` are a feasible dual solution: cost ≥ row price + column price everywhere, with
/// equality on assigned pairs. Each row grows a tree of shortest paths over reduced costs until it meets a free column.
fn shortest_augmenting_paths(cost: &[f64], rows: usize, columns: usize) -> Result<Vec<usize>> {
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
            for (at, &column) in open.iter().enumerate() {
                let through = reduced + cost[row * columns + column] - column_price[column];
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
    use super::*;

    /// Least cost over all assignments of rows to distinct columns, for rows ≤ columns.
    fn exhaustive(cost: &[f64], rows: usize, columns: usize, row: usize, used: u32) -> f64 {
        if row == rows {
            return 0.0;
        }
        let free = (0..columns).filter(|column| used & (1 << column) == 0);
        free.map(|c| cost[row * columns + c] + exhaustive(cost, rows, columns, row + 1, used | 1 << c))
            .fold(f64::INFINITY, f64::min)
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
            let cost: Vec<f64> = (0..rows * columns).map(|_| random(levels) as f64 - 1.0).collect();
            let pairs = linear_assignment(&cost, rows, columns).unwrap();
            let total: f64 = pairs.iter().map(|&(r, c)| cost[r * columns + c]).sum();
            assert_eq!(total, exhaustive(&cost, rows, columns, 0, 0));
            assert!(pairs.iter().enumerate().all(|(row, pair)| pair.0 == row));

            let cost = &cost;
            let transposed: Vec<f64> =
                (0..columns).flat_map(|c| (0..rows).map(move |r| cost[r * columns + c])).collect();
            let pairs = linear_assignment(&transposed, columns, rows).unwrap();
            assert_eq!(pairs.iter().map(|&(c, r)| cost[r * columns + c]).sum::<f64>(), total);
            assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0));
        }
    }

    #[test]
    fn empty_sides_are_ordinary() {
        assert_eq!(linear_assignment(&[], 0, 5).unwrap(), []);
        assert_eq!(linear_assignment(&[], 5, 0).unwrap(), []);
        assert_eq!(linear_assignment(&[], usize::MAX, 0).unwrap(), []);
    }

    #[test]
    fn unusable_costs_are_refused() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let text = linear_assignment(&[0.0, 1.0, 2.0, bad], 2, 2).unwrap_err().to_string();
            assert!(text.contains("row 1, column 1"), "{text}");
        }
        assert!(linear_assignment(&[0.0; 3], 2, 2).is_err());
        assert!(linear_assignment(&[], 1 << 32, 1 << 32).is_err(), "the product wraps to 0");
    }
}
