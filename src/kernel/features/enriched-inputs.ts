import type { Datatype, EnrichedInputs, Signature, TensorSpec } from '../model/signature.ts'
import { FeatureTableError } from './errors.ts'
import { keyName } from './feature-source.ts'
import type { DeclaredTable } from './feature-source.ts'

/** A declared table with the type of its keys. */
export interface KeyedTable extends Pick<DeclaredTable, 'table' | 'key' | 'columns'> {
  keyDatatype: Datatype
}

/**
 * What callers send where tables give some of the columns. An input loses the columns that a table gives, and is not
 * sent at all where none is left; a key that is no column of the model becomes an input `[-1]` of its own, unless it is a
 * parameter. Pure.
 * @throws FeatureTableError where tables and model don't fit
 */
export function enrichedInputs(signature: Signature, tables: readonly KeyedTable[]): EnrichedInputs {
  const given = givenColumns(signature, tables)
  const left = signature.inputs.flatMap((spec) => withoutColumns(spec, given))
  const keys = new Map<string, TensorSpec>()
  const sent = new Map<string, TensorSpec>()
  for (const declared of tables) {
    const name = keyName(declared.key)
    if ('column' in declared.key && isColumn(left, name)) continue
    checkKey(signature, given, declared)
    const spec: TensorSpec = { name, datatype: declared.keyDatatype, shape: [-1], columns: [name] }
    const known = keys.get(name)
    if (known !== undefined && known.datatype !== spec.datatype)
      throw unfit(
        declared,
        `its key '${name}' is ${spec.datatype}, that of another table ${known.datatype}`,
        'Give both keys the same type.',
      )
    keys.set(name, spec)
    if ('column' in declared.key) sent.set(name, spec)
  }
  const asked = [...left, ...sent.values()]
  if (asked.length === 0)
    throw unfit(tables[0]!, 'callers would have no input to send', "Let the key be an input: write key: 'name'.")
  return { asked, keys: [...keys.values()] }
}

/** Columns by name, with the table that gives them. */
function givenColumns({ inputs }: Signature, tables: readonly KeyedTable[]): ReadonlySet<string> {
  const given = new Set<string>()
  for (const table of tables) {
    for (const column of table.columns) {
      if (given.has(column)) throw unfit(table, `'${column}' is given by another table too`, 'Name it once.')
      if (!isColumn(inputs, column)) {
        const known = inputs.flatMap(({ columns }) => columns ?? [])
        const fix =
          known.length > 0
            ? `The model's columns are ${known.slice(0, 40).join(', ')}.`
            : `List the model's columns in order as 'features'.`
        throw unfit(table, `the model has no column '${column}'`, fix)
      }
      given.add(column)
    }
  }
  return given
}

function withoutColumns(spec: TensorSpec, given: ReadonlySet<string>): TensorSpec[] {
  const { columns, shape } = spec
  if (columns === null || !columns.some((name) => given.has(name))) return [spec]
  const left = columns.filter((name) => !given.has(name))
  return left.length === 0 ? [] : [{ ...spec, columns: left, shape: [...shape.slice(0, -1), left.length] }]
}

function checkKey({ inputs }: Signature, given: ReadonlySet<string>, table: KeyedTable): void {
  const name = keyName(table.key)
  if (given.has(name))
    throw unfit(
      table,
      `its key '${name}' is itself given by a table`,
      'Let callers send the key: leave it out of columns.',
    )
  if (inputs.some((spec) => spec.name === name) || isColumn(inputs, name))
    throw unfit(table, `its key '${name}' is called as an input of the model is`, 'Rename the column in the table.')
}

const isColumn = (specs: readonly TensorSpec[], name: string): boolean =>
  specs.some(({ columns }) => columns?.includes(name) === true)

const unfit = ({ table }: KeyedTable, why: string, fix: string) => new FeatureTableError(table, why, fix)
