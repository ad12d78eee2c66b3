//! Points and what is made of them. Source: utils/adt/geo_ops.c.

use super::output::Value;

/// The double at a place.
fn double(value: &Value, at: usize) -> Option<String> {
    Some(super::float8(value.data.f64(at)?, value.major))
}

/// `(x,y)`
fn point_at(value: &Value, at: usize) -> Option<String> {
    Some(format!("({},{})", double(value, at)?, double(value, at + 8)?))
}

fn points(value: &Value, at: usize, count: usize) -> Option<String> {
    // The count is a claim.
    let end = count.checked_mul(16)?.checked_add(at)?;
    value.data.bytes.get(at..end)?;
    let points: Option<Vec<String>> = (0..count).map(|index| point_at(value, at + 16 * index)).collect();
    Some(points?.join(","))
}

pub(super) fn point(value: &Value) -> Option<String> {
    point_at(value, 0)
}

/// The high corner comes first.
pub(super) fn box_out(value: &Value) -> Option<String> {
    points(value, 0, 2)
}

pub(super) fn lseg(value: &Value) -> Option<String> {
    Some(format!("[{}]", points(value, 0, 2)?))
}

pub(super) fn line(value: &Value) -> Option<String> {
    Some(format!("{{{},{},{}}}", double(value, 0)?, double(value, 8)?, double(value, 16)?))
}

pub(super) fn circle(value: &Value) -> Option<String> {
    Some(format!("<{},{}>", point_at(value, 0)?, double(value, 16)?))
}

/// `npts`, `closed`, a filler, the points.
pub(super) fn path(value: &Value) -> Option<String> {
    let count = usize::try_from(value.data.i32(0)?).ok()?;
    let points = points(value, 12, count)?;
    Some(if value.data.i32(4)? != 0 { format!("({points})") } else { format!("[{points}]") })
}

/// `npts`, the box around it, the points.
pub(super) fn polygon(value: &Value) -> Option<String> {
    let count = usize::try_from(value.data.i32(0)?).ok()?;
    Some(format!("({})", points(value, 36, count)?))
}
