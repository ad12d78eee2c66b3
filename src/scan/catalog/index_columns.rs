//! What the entries of an index consist of: for what the catalogs are read once more, since few indexes are ever asked for.

use super::{Catalogs, Database, Relation, RowHead};
use crate::format::pg_type::{
    IndexColumn, IndexColumns, PG_AMPROC, PG_ENUM, PG_RANGE, PG_TYPE, PgAmproc, PgType, Types,
};
use crate::format::reader::{Reader, Truncated};
use crate::pg::Oid;

impl Catalogs<'_> {
    /// The columns of an index, or why they are not known.
    pub fn index_columns(&self, database: &Database, relation: &Relation) -> Result<IndexColumns, String> {
        let name = &relation.class.relname;
        let index = relation.index.as_ref().ok_or_else(|| format!("\"{name}\" is not an index"))?;
        let names = self.column_names(database, index.indrelid);
        let support = self.support_functions(database)?;
        let mut columns = Vec::new();
        for (position, attribute) in relation.attributes.iter().enumerate() {
            let of_table = index.indkey.get(position).copied().unwrap_or(0);
            let of_table = usize::try_from(of_table).ok().and_then(|number| number.checked_sub(1));
            let name = match of_table {
                Some(number) => Some(names.get(number).cloned().ok_or_else(|| {
                    format!("column {} of the table of index \"{name}\" is not in pg_attribute", number + 1)
                })?),
                None => None,
            };
            let opclass = index.indclass.get(position).and_then(|oid| database.opclass(*oid));
            let first = opclass.and_then(|opclass| {
                let intype = opclass.opcintype;
                support.iter().find(|function| {
                    function.amprocfamily == opclass.opcfamily
                        && function.amproclefttype == intype
                        && function.amprocrighttype == intype
                })
            });
            let support = first.map_or(0, |function| function.amproc);
            columns.push(IndexColumn { name, attribute: *attribute, support });
        }
        if columns.is_empty() {
            return Err(format!("the columns of index \"{name}\" are not in pg_attribute"));
        }
        let key_columns = usize::from(index.indnkeyatts).min(columns.len());
        Ok(IndexColumns { name: name.clone(), columns, key_columns, types: self.types(database)? })
    }

    /// The first ones of every operator family.
    fn support_functions(&self, database: &Database) -> Result<Vec<PgAmproc>, String> {
        let mut functions = Vec::new();
        self.whole(database, PG_AMPROC, |reader, _| {
            let function = PgAmproc::read(reader, self.major)?;
            if function.amprocnum == 1 {
                functions.push(function);
            }
            Ok(())
        })?;
        Ok(functions)
    }

    /// The types of a database.
    fn types(&self, database: &Database) -> Result<Types, String> {
        let mut types = Types::default();
        self.whole(database, PG_TYPE, |reader, head| {
            types.add_type(PgType::read(reader, self.major, head.oid)?);
            Ok(())
        })?;
        self.whole(database, PG_RANGE, |reader, _| types.read_range(reader))?;
        self.whole(database, PG_ENUM, |reader, head| types.read_label(reader, self.major, head.oid))?;
        Ok(types)
    }

    /// Every row of a catalog, or why there are not all.
    fn whole(
        &self,
        database: &Database,
        catalog: Oid,
        row: impl FnMut(&mut Reader, &RowHead) -> Result<(), Truncated>,
    ) -> Result<(), String> {
        let mut problems = Vec::new();
        let file = database.relation(catalog).map(|relation| relation.filenode);
        let file = file.filter(|number| *number != 0);
        let file = file.ok_or_else(|| format!("the catalog with OID {catalog} is not in pg_class"))?;
        self.rows(&database.directory.join(file.to_string()), &mut problems, row);
        problems.first().map_or(Ok(()), |error| Err(error.to_string()))
    }
}
