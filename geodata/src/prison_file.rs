//! Prisons from files: GeoJSON with outlines or points, and CSV with one point a row.

use std::path::Path;

use geojson::{Feature, GeoJson, GeometryValue, JsonObject, JsonValue};

use crate::distance::{Position, wrap_longitude};
use crate::error::{Error, Result};
use crate::file;
use crate::name::Format;
use crate::places::Prison;
use crate::polygon::Polygon;

const SIZE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const PRISON_COUNT_MAX: usize = 200_000;
/// Corners after edges are cut; forty bytes each.
const CORNER_COUNT_MAX: usize = 4_000_000;
/// A point worse than this says no more than a region, and would reach beyond the search distance.
const ACCURACY_M_MAX: f64 = 45_000.0;
/// What our own CSV means by the levels of its `confidence` column: a point on the site, and a place of
/// the same name.
const ACCURACY_M_SITE: f64 = 100.0;
const ACCURACY_M_PLACE: f64 = 3_000.0;

/// What is known about where a prison is.
#[derive(Debug)]
pub(crate) enum PrisonShape {
    Point(Position),
    /// At least one.
    Polygons(Vec<Polygon>),
}

/// The prisons of a file that are not closed, and what is doubtful about the rest.
#[derive(Debug, Default)]
pub(crate) struct PrisonFile {
    pub prisons: Vec<Prison>,
    pub warnings: Vec<String>,
    closed_count: usize,
    unlocated_count: usize,
    coarse_count: usize,
    other_geometry_count: usize,
}

impl PrisonFile {
    /// Reads a file; the format is told by how it starts where none is given.
    pub(crate) fn open(path: &Path, format: Option<Format>) -> Result<PrisonFile> {
        let bytes = file::read_bytes_limited(path, SIZE_BYTES_MAX)?;
        let starts_as_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let mut found = PrisonFile::default();
        match format {
            Some(Format::GeoJson | Format::Json) => found.read_geojson(path, &bytes)?,
            Some(Format::Csv) => found.read_csv(path, &bytes)?,
            None if starts_as_json => found.read_geojson(path, &bytes)?,
            None => found.read_csv(path, &bytes)?,
            Some(format) => {
                let reason = format!("format {format} does not fit");
                return Err(Error::Unfit { path: path.to_owned(), data_set: "places.prisons", reason });
            }
        }
        if found.prisons.is_empty() {
            let reason = format!(
                "{} closed, {} without a position, {} too coarse, {} neither polygon nor point",
                found.closed_count, found.unlocated_count, found.coarse_count, found.other_geometry_count
            );
            return Err(Error::NoUsableRow { path: path.to_owned(), reason });
        }
        found.add_warnings();
        Ok(found)
    }

    fn add_warnings(&mut self) {
        // A closed prison is left out on purpose and needs no warning.
        let counts = [
            (self.unlocated_count, "without a position"),
            (self.coarse_count, "accurate to worse than 45 km"),
            (self.other_geometry_count, "neither a polygon nor a point"),
        ];
        for (count, what) in counts {
            if count > 0 {
                self.warnings.push(format!("{count} left out: {what}"));
            }
        }
    }

    fn push(&mut self, path: &Path, prison: Prison) -> Result<()> {
        if prison.accuracy_m.is_some_and(|accuracy_m| accuracy_m > ACCURACY_M_MAX) {
            self.coarse_count += 1;
            return Ok(());
        }
        if self.prisons.len() == PRISON_COUNT_MAX {
            return Err(Error::invalid(path, format!("it has more than {PRISON_COUNT_MAX} prisons")));
        }
        self.prisons.push(prison);
        Ok(())
    }

    fn read_geojson(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let geojson =
            GeoJson::from_reader(bytes).map_err(|source| Error::GeoJson { path: path.to_owned(), source })?;
        let features = match geojson {
            GeoJson::FeatureCollection(collection) => {
                refuse_other_coordinate_systems(path, collection.foreign_members.as_ref())?;
                collection.features
            }
            GeoJson::Feature(feature) => vec![feature],
            GeoJson::Geometry(geometry) => vec![Feature { geometry: Some(geometry), ..Feature::default() }],
        };
        let mut corner_count_left = CORNER_COUNT_MAX;
        for (index, feature) in features.into_iter().enumerate() {
            self.add_feature(path, index, feature, &mut corner_count_left)?;
        }
        Ok(())
    }

    fn add_feature(
        &mut self,
        path: &Path,
        index: usize,
        feature: Feature,
        corner_count_left: &mut usize,
    ) -> Result<()> {
        let invalid = |reason: String| Error::Feature { path: path.to_owned(), index, reason };
        let empty = JsonObject::new();
        let properties = feature.properties.as_ref().unwrap_or(&empty);
        if is_closed_feature(properties) {
            self.closed_count += 1;
            return Ok(());
        }
        let Some(geometry) = feature.geometry else {
            self.unlocated_count += 1;
            return Ok(());
        };
        let mut polygons = Vec::new();
        let mut points = Vec::new();
        let mut pending = vec![geometry.value];
        while let Some(value) = pending.pop() {
            match value {
                GeometryValue::Polygon { coordinates } => polygons.push(coordinates),
                GeometryValue::MultiPolygon { coordinates } => polygons.extend(coordinates),
                GeometryValue::Point { coordinates } => points.push(coordinates),
                GeometryValue::MultiPoint { coordinates } => points.extend(coordinates),
                GeometryValue::GeometryCollection { geometries } => {
                    pending.extend(geometries.into_iter().map(|geometry| geometry.value));
                }
                GeometryValue::LineString { .. } | GeometryValue::MultiLineString { .. } => {
                    self.other_geometry_count += 1;
                }
            }
        }
        let accuracy_m = accuracy_of(properties).map_err(invalid)?;
        let id = feature_id(feature.id.as_ref(), properties).unwrap_or_else(|| default_id(path, index));
        let name = text_of(properties, &["name", "Name", "NAME", "nombre", "NOMBRE", "name:es"])
            .unwrap_or_else(|| id.clone());
        if !polygons.is_empty() {
            let mut outlines = Vec::with_capacity(polygons.len());
            for rings in &polygons {
                outlines.push(read_polygon(rings, corner_count_left).map_err(invalid)?);
            }
            // A point beside an outline is its label.
            return self.push(path, Prison { id, name, accuracy_m, shape: PrisonShape::Polygons(outlines) });
        }
        for point in points {
            let (longitude, latitude) = read_coordinates(point.as_slice()).map_err(invalid)?;
            // The values were just found to be in range, but for turns of the longitude.
            if let Some(position) = Position::new(latitude, wrap_longitude(longitude)) {
                let shape = PrisonShape::Point(position);
                self.push(path, Prison { id: id.clone(), name: name.clone(), accuracy_m, shape })?;
            }
        }
        Ok(())
    }

    fn read_csv(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let csv_error = |source| Error::Csv { path: path.to_owned(), source };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let columns = CsvColumns::new(reader.headers().map_err(csv_error)?)
            .ok_or_else(|| Error::invalid(path, "its first row names no columns lat and lon"))?;
        for (index, record) in reader.records().enumerate() {
            let record = record.map_err(csv_error)?;
            let line = record.position().map_or(0, csv::Position::line);
            let invalid = |reason: String| Error::Row { path: path.to_owned(), line, reason };
            if columns.text(&record, columns.status).is_some_and(is_closed_status) {
                self.closed_count += 1;
                continue;
            }
            let latitude = columns.text(&record, Some(columns.latitude));
            let longitude = columns.text(&record, Some(columns.longitude));
            let (Some(latitude), Some(longitude)) = (latitude, longitude) else {
                self.unlocated_count += 1;
                continue;
            };
            let coordinates = [number(longitude).map_err(invalid)?, number(latitude).map_err(invalid)?];
            let (longitude, latitude) = read_coordinates(&coordinates).map_err(invalid)?;
            let accuracy_m = columns.accuracy_m(&record).map_err(invalid)?;
            let id = columns.text(&record, columns.id).map_or_else(|| default_id(path, index), str::to_owned);
            let name = columns.text(&record, columns.name).map_or_else(|| id.clone(), str::to_owned);
            // The values were just found to be in range, but for turns of the longitude.
            if let Some(position) = Position::new(latitude, wrap_longitude(longitude)) {
                self.push(path, Prison { id, name, accuracy_m, shape: PrisonShape::Point(position) })?;
            }
        }
        Ok(())
    }
}

/// Where the columns of a CSV are that say something about a prison.
struct CsvColumns {
    latitude: usize,
    longitude: usize,
    name: Option<usize>,
    id: Option<usize>,
    status: Option<usize>,
    confidence: Option<usize>,
    accuracy: Option<usize>,
}

impl CsvColumns {
    fn new(header: &csv::StringRecord) -> Option<CsvColumns> {
        let find = |names: &[&str]| {
            header.iter().position(|title| {
                let title = title.trim_start_matches('\u{feff}');
                names.iter().any(|name| title.eq_ignore_ascii_case(name))
            })
        };
        Some(CsvColumns {
            latitude: find(&["lat", "latitude", "latitud"])?,
            longitude: find(&["lon", "lng", "longitude", "longitud"])?,
            name: find(&["name", "nombre"]),
            id: find(&["id", "code", "clave"]),
            status: find(&["status", "estatus"]),
            confidence: find(&["confidence"]),
            accuracy: find(&["accuracy_m"]),
        })
    }

    fn text<'r>(&self, record: &'r csv::StringRecord, column: Option<usize>) -> Option<&'r str> {
        record.get(column?).filter(|text| !text.is_empty())
    }

    fn accuracy_m(&self, record: &csv::StringRecord) -> Result<Option<f64>, String> {
        if let Some(text) = self.text(record, self.accuracy) {
            return accuracy(number(text)?).map(Some);
        }
        Ok(match self.text(record, self.confidence) {
            Some("high" | "medium") => Some(ACCURACY_M_SITE),
            Some("low") => Some(ACCURACY_M_PLACE),
            _ => None,
        })
    }
}

fn read_polygon(rings: &[Vec<geojson::Position>], corner_count_left: &mut usize) -> Result<Polygon, String> {
    let mut read = Vec::with_capacity(rings.len());
    for ring in rings {
        let ring: Result<Vec<_>, _> = ring.iter().map(|at| read_coordinates(at.as_slice())).collect();
        read.push(ring?);
    }
    Polygon::new(&read, corner_count_left)
}

/// Checks a position of GeoJSON, which has the longitude first.
fn read_coordinates(coordinates: &[f64]) -> Result<(f64, f64), String> {
    let &[longitude, latitude, ..] = coordinates else {
        return Err("a position has fewer than two numbers".to_owned());
    };
    if Position::new(latitude, longitude).is_some() {
        return Ok((longitude, latitude));
    }
    // Rings across the antimeridian may go a little beyond ±180.
    if latitude.abs() <= 90.0 && longitude.abs() <= 360.0 {
        return Ok((longitude, latitude));
    }
    let swapped = if Position::new(longitude, latitude).is_some() {
        "; latitude and longitude seem to be swapped"
    } else {
        ""
    };
    Err(format!("longitude {longitude}, latitude {latitude} is out of range{swapped}"))
}

fn refuse_other_coordinate_systems(path: &Path, members: Option<&JsonObject>) -> Result<()> {
    let name = members
        .and_then(|members| members.get("crs"))
        .and_then(|crs| crs.get("properties"))
        .and_then(|properties| properties.get("name"))
        .and_then(JsonValue::as_str);
    match name {
        Some(name) if !["CRS84", "4326", "4979"].iter().any(|known| name.ends_with(known)) => {
            Err(Error::invalid(path, format!("its coordinate system {name:?} is not WGS84")))
        }
        _ => Ok(()),
    }
}

/// A prison counts as closed whatever the day it closed on: what the data says now is what holds.
fn is_closed_feature(properties: &JsonObject) -> bool {
    let is_closed_by_status = text_of(properties, &["status", "estatus"]);
    let has_end = ["closed_on", "end_date", "valid_to", "disused:amenity", "abandoned:amenity"];
    is_closed_by_status.is_some_and(|status| is_closed_status(&status))
        || properties.get("closed").and_then(JsonValue::as_bool) == Some(true)
        || text_of(properties, &has_end).is_some()
}

fn is_closed_status(status: &str) -> bool {
    let status = status.trim_start().to_lowercase();
    ["closed", "cerrad", "disused", "abandoned", "demolished"].iter().any(|word| status.starts_with(word))
}

/// A radius given beside a point is read as its accuracy: how far from it the prison may be.
fn accuracy_of(properties: &JsonObject) -> Result<Option<f64>, String> {
    for key in ["accuracy_m", "accuracy", "radius_m", "radius"] {
        let value = match properties.get(key) {
            Some(JsonValue::Number(number)) => number.as_f64().ok_or("an accuracy is not a number")?,
            Some(JsonValue::String(text)) if !text.is_empty() => number(text)?,
            Some(JsonValue::Null | JsonValue::String(_)) | None => continue,
            Some(_) => return Err(format!("{key} is not a number")),
        };
        return accuracy(value).map(Some);
    }
    Ok(None)
}

fn accuracy(value: f64) -> Result<f64, String> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(format!("an accuracy of {value} m is not possible"))
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

fn feature_id(id: Option<&geojson::feature::Id>, properties: &JsonObject) -> Option<String> {
    match id {
        Some(geojson::feature::Id::String(text)) => Some(text.clone()),
        Some(geojson::feature::Id::Number(number)) => Some(number.to_string()),
        None => text_of(properties, &["id", "@id", "osm_id", "code", "entity_id"]),
    }
}

fn text_of(properties: &JsonObject, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| match properties.get(*key)? {
        JsonValue::String(text) if !text.is_empty() => Some(text.clone()),
        JsonValue::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// The place in the file names a prison that has no identifier of its own.
fn default_id(path: &Path, index: usize) -> String {
    let stem = path.file_stem().map_or_else(|| "prisons".into(), |stem| stem.to_string_lossy());
    format!("{stem}#{}", index + 1)
}
