/** The reference pages that are derived from the sources. */
import fs from 'node:fs'
import { CONDITIONS } from '../agent/admin/conditions.ts'
import { CATALOGUE } from '../core/errors.ts'

export function writeErrorsPage(): string {
  const rows = Object.entries(CATALOGUE).map(
    ([code, r]) => `| \`${code}\` | ${r.origin} | ${r.http} | \`${r.flag}\` | ${r.retry} | ${r.remedy} |`,
  )
  return `# Errors

Every refusal carries one of these codes: in the log (\`err.code\`), in the metric labels, in the answer's \`x-meshlet-error\` header, on stderr.
*Flag* is Envoy's response flag where one exists. *Again* says when meshlet may try once more by itself: \`unsent\` = no byte had reached the peer,
\`reused\` = the connection came from the pool and closed before any answer.

| code | origin | HTTP | flag | again | what to do |
|---|---|---|---|---|---|
${rows.join('\n')}
`
}

export function writeStatusPage(): string {
  const rows = CONDITIONS.map((c) => `| ${c.name} | ${c.holds} | ${c.codes.map((code) => `\`${code}\``).join(', ')} |`)
  return `# What meshlet status looks at

\`meshlet status\` says "Nothing is wrong", and ends with 0, when none of these holds; else it ends with 1 and tells each with a code, what is concerned and what to do
([errors.md](errors.md)). Codes of identity and link are the most frequent ones. A condition that cannot be looked at is told as \`MESH_INTERNAL\`, and hides no other.
What the configuration asks for and meshlet leaves out where that makes nothing weaker (outbound filters, access logs) is no problem: it stands under "left out", and "Nothing is wrong" is not said beside it.

| condition | holds when | codes |
|---|---|---|
${rows.join('\n')}
`
}

export type MetricSource = {
  readonly name: string
  readonly kind: string
  readonly help: string
  readonly file: string
}

/** Every metric that the sources register, by name. */
export function findMetricSources(): MetricSource[] {
  const files = ['agent', 'control-sync', 'protocols', 'hub', 'model', 'proto', 'core'].flatMap((dir) =>
    fs.globSync(`${dir}/**/*.ts`),
  )
  const found = files.flatMap((file) =>
    [
      ...fs
        .readFileSync(file, 'utf8')
        .matchAll(
          /\.(counter|counterOf|gauge|gaugeOf|histogram|standardCounter|standardHistogram)\(\s*'((?:mesh|istio)_\w+)',\s*'((?:[^'\\]|\\.)*)'/g,
        ),
    ].map(([, kind, name, help]): MetricSource => ({
      name: name!,
      kind: kind!.replace('Of', '').replace('standard', '').toLowerCase(),
      help: help!.replaceAll("\\'", "'"),
      file,
    })),
  )
  return found.sort((a, b) => a.name.localeCompare(b.name) || a.file.localeCompare(b.file))
}

export function writeMetricsPage(): string {
  const seen = new Map(findMetricSources().map((m) => [m.name, m]))
  const rows = [...seen.values()].map((m) => `| \`${m.name}\` | ${m.kind} | ${m.help} |`)
  return `# Metrics

\`/stats/prometheus\` of the admin port, Prometheus text format. Names are an API: they do not change within a major version.

| name | kind | meaning |
|---|---|---|
${rows.join('\n')}
`
}
