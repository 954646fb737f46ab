/** docs/mqtt-conformance.md: which statement is met by which row. */
import { STATEMENTS } from './ids.ts'
import type { Unseen } from './row.ts'
import { CASES, EXCEPTIONS, nameOf, type Standard, UNSEEN } from './table.ts'

export function writeConformancePage(): string {
  return `# MQTT conformance

Which row of test/protocols/mqtt/statements shows which normative statement of MQTT 5.0 (OASIS Standard of 7 March 2019: 251 statements) and 3.1.1 (OASIS Standard of 29 October 2014: 141, of which Errata 01
counts two no more, MQTT-3.1.2-7 and MQTT-3.8.3-4), and what MQTT 3.1 has otherwise. A row is a conversation in bytes: what goes in as hex, and each packet that comes out compared with what the
standard asks for. *Server* rows are played against the broker, *client* rows against a bridge, which is the client here. \`node --test test/protocols/mqtt/statements/*.test.ts\` plays all ${CASES.length}.

Not met: ${EXCEPTIONS.length === 0 ? 'none' : 'none; with exceptions'}.
${EXCEPTIONS.map(({ statements, what }) => `- ${statements}: ${what}`).join('\n')}

It is written by \`npm run docs\`.

## MQTT 5.0
${tableOf('v5')}

## MQTT 3.1.1
${tableOf('v3')}

## MQTT 3.1
${tableOf('v31')}
`
}

function tableOf(standard: Standard): string {
  const ids =
    standard === 'v31' ? [...new Set(CASES.flatMap((c) => (c.standard === 'v31' ? c.ids : [])))] : STATEMENTS[standard]
  return `| ${standard === 'v31' ? 'section' : 'statement'} | rows |\n|---|---|\n${ids.map((id) => `| ${nameOf(standard, id)} | ${rowsOf(standard, id)} |`).join('\n')}`
}
function rowsOf(standard: Standard, id: string): string {
  const rows = CASES.filter((one) => one.standard === standard && one.ids.includes(id))
  if (rows.length === 0) return reasonOf(UNSEEN.find(({ ids }) => ids[standard]?.split(' ').includes(id)))
  return rows.map(({ row }) => `*${row.role}*: ${row.title.replaceAll('|', String.raw`\|`)}`).join('; ')
}
function reasonOf(unseen: Unseen | undefined): string {
  if (!unseen) return '**no row**'
  const { why, reason } = unseen
  return why === 'not met' ? `**not met**: ${reason}` : `not observable: ${reason}`
}
