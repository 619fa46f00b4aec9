//! Where a position is: in which country, and in or near which prison.

use std::path::Path;
use std::sync::LazyLock;

use country_boundaries::{BOUNDARIES_ODBL_360X180, CountryBoundaries, LatLon, ReadError};
use h3o::{CellIndex, LatLng, Resolution};
use rustc_hash::FxHashMap;

use crate::distance::{Position, Vector, distance_m, surface};
use crate::error::{Error, Result};
use crate::file::DataFile;
use crate::polygon::{NearestEdge, Polygon};
use crate::prison_file::{PrisonFile, PrisonShape};

/// A prison known only as a point counts where the point is at least this accurate.
pub const POINT_ACCURACY_M_MAX: f64 = 50.0;
/// What is assumed of a point whose file says nothing: good enough for a hint, not for a rule.
pub const POINT_ACCURACY_M_ASSUMED: f64 = 1_000.0;
/// The distance at which a position is near a prison; a hint is given where a coarse point may be so near.
pub const NEAR_DISTANCE_M: f64 = 50.0;
/// Farther prisons are not looked for.
pub const SEARCH_DISTANCE_M: f64 = 50_000.0;

/// Cells of about 45 km across: with the search distance a shape is in about twenty of them.
const INDEX_RESOLUTION: Resolution = Resolution::Four;
/// Farther than any point of a cell of that resolution is from the cell's middle, as an angle.
const CELL_RADIUS: f64 = 40_000.0 / SPHERE_RADIUS_M;
/// Less than each ring of cells adds to the distance from the middle one, so that enough rings are visited.
const CELL_SPACING_MIN: f64 = 20_000.0 / SPHERE_RADIUS_M;
/// A degree of the index's sphere is at least as long as one of the ellipsoid in this measure, so that an
/// angle computed from metres with it is never too small.
const SPHERE_RADIUS_M: f64 = 6_335_000.0;
/// How much shorter a chord may be than its line on the surface, within the search distance.
const CHORD_SLACK_M: f64 = 1.0;

/// Part of the program and never changed, so all places of a process share one.
static BOUNDARIES: LazyLock<Result<CountryBoundaries, ReadError>> =
    LazyLock::new(|| CountryBoundaries::from_reader(BOUNDARIES_ODBL_360X180));

/// The places that are in use: country boundaries always, prisons where a file is configured.
pub struct Places {
    boundaries: &'static CountryBoundaries,
    prisons: Option<PrisonIndex>,
    warnings: Vec<String>,
}

/// What is known about prisons around one position.
///
/// Evidence comes from polygons and from points accurate to [`POINT_ACCURACY_M_MAX`]. Where neither puts
/// the position inside or nearer than [`NEAR_DISTANCE_M`], but a coarse point may, the answer is unknown:
/// `inside` and `distance_m` are none, and the hint says which prison casts the doubt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PrisonFacts<'a> {
    /// Whether the position is within a prison, its edge included; none where that cannot be told.
    pub inside: Option<bool>,
    /// The distance to the nearest prison, 0 inside; none beyond [`SEARCH_DISTANCE_M`] or where unknown.
    pub distance_m: Option<f64>,
    /// The distance to the edge of that prison, measured from inside as well.
    pub edge_distance_m: Option<f64>,
    /// The name of that prison.
    pub name: Option<&'a str>,
    /// The identifier of that prison in its file.
    pub id: Option<&'a str>,
    /// How accurate the prison's point or outline is, where the file says so.
    pub accuracy_m: Option<f64>,
    /// A prison known too coarsely to count, which may be nearer than [`NEAR_DISTANCE_M`].
    pub low_confidence_hint: Option<PrisonHint<'a>>,
}

/// A prison whose point is too coarse to count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrisonHint<'a> {
    pub name: &'a str,
    pub id: &'a str,
    /// The distance to the point, which is wrong by up to `accuracy_m`.
    pub distance_m: f64,
    pub accuracy_m: f64,
}

impl Places {
    /// Returns places that know countries and no prison.
    pub fn without_prisons() -> Result<Places> {
        let boundaries =
            BOUNDARIES.as_ref().map_err(|error| Error::Boundaries { reason: error.to_string() })?;
        Ok(Places { boundaries, prisons: None, warnings: Vec::new() })
    }

    /// Returns places with the prisons of some files, GeoJSON or CSV.
    pub(crate) fn open(prison_files: &[DataFile<'_>]) -> Result<Places> {
        let mut places = Places::without_prisons()?;
        let mut prisons = Vec::new();
        for DataFile { path, format, .. } in prison_files {
            let file = PrisonFile::open(path, *format)?;
            places.warnings.extend(file.warnings.iter().map(|text| format!("{}: {text}", path.display())));
            places.warn_of_swapped_coordinates(path, &file);
            prisons.extend(file.prisons);
        }
        if !prison_files.is_empty() {
            places.prisons = Some(PrisonIndex::new(prisons));
        }
        Ok(places)
    }

    /// Returns whether a prison file is in use.
    pub fn has_prisons(&self) -> bool {
        self.prisons.is_some()
    }

    /// Returns what is doubtful about the files, in sentences for people.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the country of a position as ISO 3166-1 alpha-2, or none at sea.
    ///
    /// Where a territory has a code of its own and is part of a larger country, it is the territory's.
    pub fn country(&self, position: Position) -> Option<&str> {
        // A position is in range, which is all that can be wrong with one.
        let at = LatLon::new(position.latitude(), position.longitude()).ok()?;
        let ids = self.boundaries.ids(at);
        // The smallest comes first; of a subdivision the country is what stands before the hyphen.
        let whole = ids.iter().copied().find(|id| id.len() == 2);
        whole.or_else(|| ids.first().and_then(|id| id.split('-').next()))
    }

    /// Returns what is known about prisons around `position`; all is none where no file is configured.
    pub fn prison(&self, position: Position) -> PrisonFacts<'_> {
        self.prisons.as_ref().map_or_else(PrisonFacts::default, |prisons| prisons.facts(position))
    }

    /// Returns how many prisons can fire or hint; those closed are not among them.
    pub fn prison_count(&self) -> usize {
        self.prisons.as_ref().map_or(0, |prisons| prisons.prisons.len())
    }

    /// Returns the prisons: identifier, name, and a position inside the outline or the point itself.
    pub fn prisons(&self) -> impl Iterator<Item = PrisonSite<'_>> {
        let prisons = self.prisons.iter().flat_map(|prisons| prisons.prisons.iter());
        prisons.filter_map(|prison| {
            Some(PrisonSite {
                id: &prison.id,
                name: &prison.name,
                position: prison.anchor()?,
                is_outlined: matches!(prison.shape, PrisonShape::Polygons(_)),
                accuracy_m: prison.accuracy_m,
            })
        })
    }

    /// Files from spreadsheets often have latitude and longitude in the wrong order; those that leave the
    /// range of latitudes are refused, but near the equator only the sea gives them away.
    fn warn_of_swapped_coordinates(&mut self, path: &Path, file: &PrisonFile) {
        let mut at_sea_count = 0;
        let mut swapped_on_land_count = 0;
        for prison in &file.prisons {
            let Some(position) = prison.anchor() else { continue };
            if self.country(position).is_some() {
                return;
            }
            at_sea_count += 1;
            let swapped = Position::new(position.longitude(), position.latitude());
            if swapped.is_some_and(|swapped| self.country(swapped).is_some()) {
                swapped_on_land_count += 1;
            }
        }
        if swapped_on_land_count * 2 > at_sea_count {
            self.warnings.push(format!(
                "{}: every prison is at sea, and {swapped_on_land_count} of {at_sea_count} are on land with \
                 latitude and longitude swapped",
                path.display()
            ));
        }
    }
}

/// One prison of the files in use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrisonSite<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub position: Position,
    /// Whether the outline is known, and not only a point.
    pub is_outlined: bool,
    pub accuracy_m: Option<f64>,
}

/// A prison as its file has it.
#[derive(Debug)]
pub(crate) struct Prison {
    pub id: String,
    pub name: String,
    pub accuracy_m: Option<f64>,
    pub shape: PrisonShape,
}

impl Prison {
    /// A position inside the outline, or the point itself.
    fn anchor(&self) -> Option<Position> {
        match &self.shape {
            PrisonShape::Point(position) => Some(*position),
            PrisonShape::Polygons(polygons) => polygons.iter().find_map(Polygon::inner_position),
        }
    }

    fn is_counting(&self) -> bool {
        match self.shape {
            PrisonShape::Polygons(_) => true,
            PrisonShape::Point(_) => {
                self.accuracy_m.is_some_and(|accuracy_m| accuracy_m <= POINT_ACCURACY_M_MAX)
            }
        }
    }
}

/// A polygon or a point with the sphere around it.
struct IndexedShape {
    prison: u32,
    /// Which polygon of the prison it is; points have one shape.
    part: u32,
    centre: Vector,
    radius_m: f64,
}

/// Shapes by the cells in which a position can be within the search distance of them.
///
/// A question costs one cell computation and one probe; what it brings is measured exactly.
struct PrisonIndex {
    prisons: Vec<Prison>,
    shapes: Vec<IndexedShape>,
    cells: FxHashMap<CellIndex, Vec<u32>>,
}

impl PrisonIndex {
    fn new(prisons: Vec<Prison>) -> PrisonIndex {
        let mut index = PrisonIndex { prisons, shapes: Vec::new(), cells: FxHashMap::default() };
        let mut added = Vec::new();
        for (prison, found) in (0u32..).zip(&index.prisons) {
            match &found.shape {
                PrisonShape::Point(position) => {
                    let centre = surface(position.latitude(), position.longitude());
                    let corners = vec![(position.latitude(), position.longitude())];
                    added.push((IndexedShape { prison, part: 0, centre, radius_m: 0.0 }, corners));
                }
                PrisonShape::Polygons(polygons) => {
                    for (part, polygon) in (0u32..).zip(polygons) {
                        let (centre, radius_m) = polygon.sphere();
                        let corners = polygon.corners().collect();
                        added.push((IndexedShape { prison, part, centre, radius_m }, corners));
                    }
                }
            }
        }
        for (at, (shape, corners)) in (0u32..).zip(added) {
            for cell in cells_around(&corners) {
                index.cells.entry(cell).or_default().push(at);
            }
            index.shapes.push(shape);
        }
        index
    }

    fn facts(&self, position: Position) -> PrisonFacts<'_> {
        let Some(cell) = cell_of(position.latitude(), position.longitude()) else {
            return PrisonFacts::default();
        };
        let at = surface(position.latitude(), position.longitude());
        let mut search = Search::default();
        for shape in self.cells.get(&cell).into_iter().flatten() {
            let shape = &self.shapes[*shape as usize];
            let prison = &self.prisons[shape.prison as usize];
            let away_m = (at - shape.centre).length() - shape.radius_m;
            match &prison.shape {
                PrisonShape::Polygons(polygons) => {
                    search.polygon(position, at, prison, &polygons[shape.part as usize], away_m);
                }
                PrisonShape::Point(point) if prison.is_counting() => search.point(prison, *point, away_m),
                PrisonShape::Point(point) => search.hint(position, prison, *point, away_m),
            }
        }
        search.facts(position)
    }
}

/// The best evidence so far, compared by chords; the winner alone is measured on the ellipsoid.
#[derive(Default)]
struct Search<'a> {
    enclosing: Option<(&'a Prison, f64)>,
    nearest: Option<Nearest<'a>>,
    hint: Option<PrisonHint<'a>>,
}

struct Nearest<'a> {
    prison: &'a Prison,
    chord_m: f64,
    to: NearestPart<'a>,
}

enum NearestPart<'a> {
    Edge(&'a Polygon, NearestEdge),
    Point(Position),
}

impl<'a> Search<'a> {
    fn polygon(
        &mut self,
        position: Position,
        at: Vector,
        prison: &'a Prison,
        polygon: &'a Polygon,
        away_m: f64,
    ) {
        let best_m = self.best_chord_m();
        if away_m > best_m {
            return;
        }
        let edge = polygon.nearest_edge(at);
        if polygon.encloses(position) {
            let edge_m = polygon.edge_distance_m(position, &edge);
            // Of overlapping outlines, the one the position is deepest in.
            if self.enclosing.is_none_or(|(_, deepest_m)| edge_m > deepest_m) {
                self.enclosing = Some((prison, edge_m));
            }
        } else if edge.chord_m < best_m {
            let chord_m = edge.chord_m;
            self.nearest = Some(Nearest { prison, chord_m, to: NearestPart::Edge(polygon, edge) });
        }
    }

    fn point(&mut self, prison: &'a Prison, point: Position, chord_m: f64) {
        if chord_m < self.best_chord_m() {
            self.nearest = Some(Nearest { prison, chord_m, to: NearestPart::Point(point) });
        }
    }

    fn hint(&mut self, position: Position, prison: &'a Prison, point: Position, chord_m: f64) {
        let accuracy_m = prison.accuracy_m.unwrap_or(POINT_ACCURACY_M_ASSUMED);
        if chord_m - accuracy_m >= NEAR_DISTANCE_M {
            return;
        }
        let distance_m = distance_m(position, point);
        let is_nearer = self.hint.is_none_or(|hint| distance_m < hint.distance_m);
        if distance_m - accuracy_m < NEAR_DISTANCE_M && is_nearer {
            self.hint = Some(PrisonHint { name: &prison.name, id: &prison.id, distance_m, accuracy_m });
        }
    }

    fn best_chord_m(&self) -> f64 {
        self.nearest.as_ref().map_or(f64::INFINITY, |nearest| nearest.chord_m)
    }

    fn facts(self, position: Position) -> PrisonFacts<'a> {
        let low_confidence_hint = self.hint;
        if let Some((prison, edge_m)) = self.enclosing {
            return PrisonFacts { low_confidence_hint, ..known(prison, true, edge_m) };
        }
        let measured = self.nearest.map(|nearest| (nearest.prison, nearest.to.distance_m(position)));
        let measured = measured.filter(|(_, distance_m)| *distance_m <= SEARCH_DISTANCE_M);
        let facts = match measured {
            // On the edge, or at the very point, is inside: the two rules leave no gap between them.
            Some((prison, distance_m)) if Polygon::is_on_edge(distance_m) => known(prison, true, distance_m),
            Some((prison, distance_m)) if distance_m < NEAR_DISTANCE_M => known(prison, false, distance_m),
            _ if low_confidence_hint.is_some() => PrisonFacts::default(),
            Some((prison, distance_m)) => known(prison, false, distance_m),
            None => PrisonFacts { inside: Some(false), ..PrisonFacts::default() },
        };
        PrisonFacts { low_confidence_hint, ..facts }
    }
}

impl NearestPart<'_> {
    fn distance_m(&self, position: Position) -> f64 {
        match self {
            NearestPart::Edge(polygon, edge) => polygon.edge_distance_m(position, edge),
            NearestPart::Point(point) => distance_m(position, *point),
        }
    }
}

fn known(prison: &Prison, is_inside: bool, edge_distance_m: f64) -> PrisonFacts<'_> {
    PrisonFacts {
        inside: Some(is_inside),
        distance_m: Some(if is_inside { 0.0 } else { edge_distance_m }),
        edge_distance_m: Some(edge_distance_m),
        name: Some(&prison.name),
        id: Some(&prison.id),
        accuracy_m: prison.accuracy_m,
        low_confidence_hint: None,
    }
}

fn cell_of(latitude: f64, longitude: f64) -> Option<CellIndex> {
    // Fails for values that are not finite only, and positions are.
    LatLng::new(latitude, longitude).ok().map(|at| at.to_cell(INDEX_RESOLUTION))
}

/// Returns every cell in which a position can be within the search distance of a shape with these corners.
fn cells_around(corners: &[(f64, f64)]) -> Vec<CellIndex> {
    let directions: Vec<Vector> = corners.iter().map(|at| direction(at.0, at.1)).collect();
    let Some(middle) = directions.iter().copied().reduce(|sum, next| sum + next) else { return Vec::new() };
    let middle = middle * (1.0 / middle.length());
    let radius = directions.iter().map(|corner| angle(middle, *corner)).fold(0.0, f64::max);
    // Between cut corners a shape bulges by millimetres; the slack covers it.
    let reach = radius + (SEARCH_DISTANCE_M + CHORD_SLACK_M) / SPHERE_RADIUS_M + CELL_RADIUS;
    let ring_count = (reach / CELL_SPACING_MIN).ceil() as u32 + 1;
    let latitude = middle.z.clamp(-1.0, 1.0).asin().to_degrees();
    let longitude = middle.y.atan2(middle.x).to_degrees();
    let Some(start) = cell_of(latitude, longitude) else { return Vec::new() };
    start
        .grid_disk_safe(ring_count)
        .filter(|cell| {
            let at = LatLng::from(*cell);
            angle(middle, direction(at.lat(), at.lng())) <= reach
        })
        .collect()
}

/// The index treats latitudes as those of a sphere, as its cells do.
fn direction(latitude: f64, longitude: f64) -> Vector {
    let (sin_latitude, cos_latitude) = latitude.to_radians().sin_cos();
    let (sin_longitude, cos_longitude) = longitude.to_radians().sin_cos();
    Vector { x: cos_latitude * cos_longitude, y: cos_latitude * sin_longitude, z: sin_latitude }
}

fn angle(from: Vector, to: Vector) -> f64 {
    // Through the chord, because the arc cosine is blind to small angles.
    2.0 * ((from - to).length() / 2.0).clamp(0.0, 1.0).asin()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        /// The two sizes of cells on which the index relies, checked all over the globe.
        #[test]
        fn cells_have_the_size_that_the_index_assumes(
            latitude in prop_oneof![-90.0..90.0f64, 85.0..90.0f64],
            longitude in -180.0..180.0f64,
        ) {
            let cell = cell_of(latitude, longitude).unwrap();
            let middle = |cell: CellIndex| {
                let at = LatLng::from(cell);
                direction(at.lat(), at.lng())
            };
            let from_middle = angle(direction(latitude, longitude), middle(cell));
            prop_assert!(from_middle < CELL_RADIUS, "{} m", from_middle * SPHERE_RADIUS_M);
            for neighbour in cell.grid_disk_safe(1).filter(|neighbour| *neighbour != cell) {
                let spacing = angle(middle(cell), middle(neighbour));
                // Across rings the cells of a hexagonal grid advance by at least this share of the spacing.
                let advance = spacing * 3f64.sqrt() / 2.0;
                prop_assert!(advance > CELL_SPACING_MIN, "{} m", advance * SPHERE_RADIUS_M);
            }
        }
    }
}
