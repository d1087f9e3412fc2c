import type { OpenAPI } from '@orpc/openapi'

/*
 * The API document for people: one HTML page without scripts, made from the OpenAPI document.
 */

type Operation = OpenAPI.OperationObject & { method: string; path: string }

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const

export function documentPage(document: OpenAPI.Document): string {
  const groups = Map.groupBy(operationsOf(document), (operation) => operation.tags?.[0] ?? 'other')
  const menu = [...groups.keys()].map((tag) => `<a href="#${slug(tag)}">${escape(tag)}</a>`).join(' · ')
  const sections = [...groups].map(
    ([tag, list]) => `<h2 id="${slug(tag)}">${escape(tag)}</h2>${list.map(article).join('')}`,
  )
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(document.info.title)}</title><style>${STYLE}</style></head><body><main>
<h1>${escape(document.info.title)} <small>${escape(document.info.version)}</small></h1>
<p>${code(document.info.description ?? '')}</p>
<p>Base: <code>${escape(document.servers?.[0]?.url ?? '')}</code> · <a href="/openapi.json">openapi.json</a></p>
<nav>${menu}</nav>${sections.join('\n')}
</main></body></html>
`
}

function operationsOf(document: OpenAPI.Document): Operation[] {
  return Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    METHODS.flatMap((method) => {
      const operation = item?.[method]
      return operation === undefined ? [] : [{ ...operation, method, path }]
    }),
  )
}

function article(operation: Operation): string {
  const parameters = (operation.parameters ?? []).flatMap((p) => ('name' in p ? [p] : []))
  const rows = parameters.map((p) => row(p.name, p.schema as Schema, p.required === true, p.in))
  const body = operation.requestBody
  const input = body !== undefined && 'content' in body ? body.content['application/json']?.schema : undefined
  const answer = operation.responses?.['200']
  const output =
    answer !== undefined && 'content' in answer ? Object.values(answer.content ?? {})[0]?.schema : undefined
  return `<article><h3><b class="${operation.method}">${operation.method.toUpperCase()}</b> <code>${escape(operation.path)}</code></h3>
<p>${escape(operation.summary ?? '')}</p>
${rows.length + fieldsOf(input).length === 0 ? '' : `<table>${rows.join('')}${fieldRows(input, 'body')}</table>`}
<details><summary>Answer</summary><table>${fieldRows(output, '')}</table></details></article>`
}

interface Schema {
  type?: string | string[]
  description?: string
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  anyOf?: Schema[]
  oneOf?: Schema[]
  enum?: unknown[]
  const?: unknown
}

/** The fields of an object, or of the items of a list. */
function fieldsOf(schema: unknown): [string, Schema, boolean][] {
  const object = schema as Schema | undefined
  if (object?.items !== undefined && object.properties === undefined) return fieldsOf(object.items)
  return Object.entries(object?.properties ?? {}).map(([name, field]) => [
    name,
    field,
    object?.required?.includes(name) === true,
  ])
}

function fieldRows(schema: unknown, where: string): string {
  const fields = fieldsOf(schema)
  if (fields.length === 0 && schema !== undefined) return row('', schema as Schema, true, where)
  return fields.map(([name, field, required]) => row(name, field, required, where)).join('')
}

function row(name: string, schema: Schema, required: boolean, where: string): string {
  const tail = [where, required ? '' : 'optional'].filter((t) => t !== '').join(', ')
  return `<tr><td><code>${escape(name)}</code></td><td>${escape(typeOf(schema))}</td><td>${escape(tail)}</td><td>${code(schema.description ?? '')}</td></tr>`
}

function typeOf(schema: Schema): string {
  const options = schema.anyOf ?? schema.oneOf
  if (options !== undefined) return [...new Set(options.map(typeOf))].join(' | ')
  if (schema.enum !== undefined) return schema.enum.map((v) => JSON.stringify(v)).join(' | ')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.items !== undefined) return `${typeOf(schema.items)}[]`
  return Array.isArray(schema.type) ? schema.type.join(' | ') : (schema.type ?? 'any')
}

const slug = (text: string) => text.replace(/\W+/g, '-')

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escape = (text: string) => text.replace(/[&<>"']/g, (c) => ESCAPES[c]!)
const code = (text: string) => escape(text).replace(/`([^`]+)`/g, '<code>$1</code>')

const STYLE = `
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{margin:0}main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1 small{font-weight:400;font-size:1rem;opacity:.7}h2{margin-top:2.5rem;text-transform:capitalize}
article{border-top:1px solid #8884;padding:.5rem 0}h3{margin:.5rem 0;font-weight:400}
h3 b{font:700 .8rem ui-monospace,monospace;padding:.1rem .4rem;border-radius:.2rem;background:#2a6f4f;color:#fff}h3 b.post{background:#7a4a12}
code{font:.9em ui-monospace,monospace}table{border-collapse:collapse;width:100%;font-size:.9rem}
td{padding:.15rem .75rem .15rem 0;vertical-align:top;overflow-wrap:anywhere}summary{cursor:pointer;opacity:.8}`
