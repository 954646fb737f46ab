/** docs/envoy-fields.md: what becomes of each of Envoy's fields, as the decoders show it. */
import fs from 'node:fs'
import { ENVOY } from '../../proto/full/rows.ts'
import { probeAll, type Probed } from './probe.ts'
import { HARMLESS, NO_EFFECT } from './reasons.ts'
import { SHOWN_BY } from './shown-by.ts'

export const keyOf = ({ type, field }: Probed): string => `${type.slice(type.lastIndexOf('.v3.') + 4)}.${field}`
export function entryOf<T>(table: Readonly<Record<string, T>>, probed: Probed): T | undefined {
  return table[keyOf(probed)] ?? table[`*.${probed.field}`]
}

/** Test files that are about the field: by Envoy's name of it, or as shown-by.ts says. */
export function testsOf(probed: Probed): string[] {
  const shown = entryOf(SHOWN_BY, probed)
  if (shown) return [shown[0]]
  const camel = probed.field.replace(/_(\w)/g, (_, c: string) => c.toUpperCase())
  const named = new RegExp(`\\b(?:${probed.field}|${camel})\\b`)
  return testFiles()
    .filter(([, text]) => named.test(text))
    .map(([file]) => file)
}

let files: [string, string][] | undefined
function testFiles(): [string, string][] {
  files ??= fs
    .globSync('test/{agent,core,proto,model,control-sync,protocols,scenarios}/**/*.test.ts')
    .toSorted()
    .map((file) => [file, fs.readFileSync(file, 'utf8')])
  return files
}

export function fieldsPage(): string {
  const sections = [...Map.groupBy(probeAll(), (p) => p.type)].map(
    ([type, fields]) => `## ${type}\n| field | what becomes of it | |\n|---|---|---|\n${fields.map(row).join('\n')}\n`,
  )
  return `# Envoy's fields

What meshlet makes of every field that Envoy ${ENVOY} has in the messages below. Each is set, in a resource that is sound without it, and the row says what was seen:

- *acted upon*: the configuration that is served differs, and there is a test of it, by the field's name or the one in the last column (test/rules/envoy-fields.test.ts looks). Some values may be
  refused or ignored all the same.
- *refused*: the smallest piece that has it (a chain, a route, a virtual host, a cluster) refuses what is meant for it, or with a condition of a policy: refuses whenever the condition matters.
- *ignored*: it has no effect, and \`meshlet status\` and \`meshlet config check\` say so with its path. None of these changes what a policy is asked about or weakens a check.
  What takes away or keeps out is refused instead, or the last column says what is done.
- *nothing to do*: a name, statistics, or what happens anyway; the last column says why.

It is written by \`npm run docs\`. A field that no release up to ${ENVOY} has is ignored with its number.

${sections.join('\n')}`
}

function row(probed: Probed): string {
  const { field, outcome } = probed
  const note =
    outcome === 'acted upon'
      ? (entryOf(SHOWN_BY, probed)?.[0] ?? '')
      : (entryOf(outcome === 'nothing' ? NO_EFFECT : HARMLESS, probed) ?? '')
  return `| \`${field}\` | ${outcome === 'nothing' ? 'nothing to do' : outcome} | ${note} |`
}
