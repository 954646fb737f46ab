/** Rows for people. */
import type { NoRow, Row } from './bench.ts'

/** Each is compared with the first peer of its case. */
export function rowTable(all: readonly (Row | NoRow)[]): string {
  const rows = all.filter((r) => 'cpuUs' in r)
  // Core %: where the subject leaves much of its core idle, the load's core sets what is done per second.
  const hasConfig = rows.some((r) => r.config)
  const hasSpread = rows.some((r) => (r.cpuSpread?.rounds ?? 1) > 1)
  const head = [
    'case',
    'subject',
    'CPU µs',
    '× first peer',
    'per second',
    'core %',
    'p50 ms',
    'p99 ms',
    'RSS MiB',
    ...(hasSpread ? ['CPU µs of rounds'] : []),
    ...(hasConfig ? ['KiB in', 'KiB out', 'disk KiB', 'saves', 'lag ms', 'lag CPU'] : []),
  ]
  const body = all.map((r) => {
    if (!('cpuUs' in r)) return [r.case, r.subject, r.what, ...head.slice(3).map(() => '')]
    const peer = rows.find((p) => p.case === r.case && !p.subject.startsWith('meshlet'))
    return [
      r.case,
      r.subject,
      r.cpuUs.toFixed(2),
      peer ? (r.cpuUs / peer.cpuUs).toFixed(2) : '',
      String(Math.round(r.perSecond)),
      ((r.cpuUs * r.perSecond) / 1e4).toFixed(0),
      fixed(r.p50Ms),
      fixed(r.p99Ms),
      r.rssMiB.toFixed(1),
      ...(hasSpread ? [spreadCell(r)] : []),
      ...(hasConfig ? configCells(r) : []),
    ]
  })
  const reasons = all.filter((r) => 'why' in r).map((r) => `${r.case} ${r.subject} ${r.what}: ${r.why.trim()}`)
  return [table(head, body, 2), ...reasons].join('\n')
}

/** @param left so many columns are text, the others figures */
export function table(head: readonly string[], body: readonly (readonly string[])[], left: number): string {
  const widths = head.map((h, i) => Math.max(h.length, ...body.map((row) => row[i]!.length)))
  return [head, ...body]
    .map((row) =>
      row
        .map((cell, i) => (i < left ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
/** What is compared with what, and in which words. */
const RATIOS = [
  ['meshlet', 'before', 'of the CPU before'],
  ['meshlet-sidecar', 'envoy-sidecar', 'of the CPU of Envoy with a sidecar’s filters'],
] as const

/** What meshlet costs beside the bundle of `--before`, and as a sidecar beside Envoy: a line for each case. */
export function ratioLines(all: readonly (Row | NoRow)[]): string {
  const lines = all.flatMap((peer) =>
    RATIOS.flatMap(([ours, theirs, words]) => {
      const row = all.find((r) => r.case === peer.case && r.subject === ours)
      if (peer.subject !== theirs || !('cpuUs' in peer) || !row || !('cpuUs' in row)) return []
      return `\n${peer.case}: ${(row.cpuUs / peer.cpuUs).toFixed(3)} ${words}`
    }),
  )
  return lines.join('')
}

function configCells({ config: c }: Row): string[] {
  return c
    ? [
        c.inKib.toFixed(0),
        c.outKib.toFixed(0),
        c.diskKib.toFixed(0),
        String(c.saves),
        ...(c.lag ? [c.lag.ms.toFixed(0), c.lag.cpuMs.toFixed(0)] : ['-', '-']),
      ]
    : ['', '', '', '', '', '']
}
function spreadCell({ cpuSpread: s }: Row): string {
  return s && s.rounds > 1 ? `${s.least.toFixed(2)}-${s.most.toFixed(2)}` : ''
}
function fixed(ms: number | null): string {
  return ms === null ? '-' : ms.toFixed(2)
}
