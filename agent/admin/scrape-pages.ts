import { mergeMetrics, type MergeParts } from './application-metrics.ts'
import type { AdminPage } from './server.ts'

/** A sidecar's port of Envoy, where there are no metrics but its own. */
const OWN_ALONE = 15_090

/**
 * Of the admin port's pages, those that a sidecar has on ports of their own: nothing that tells more, and nothing that
 * changes anything but the end, for programs on this machine (a job that is done ends its sidecar).
 */
export function selectScrapePages(
  port: number,
  pages: ReadonlyMap<string, AdminPage>,
  parts: MergeParts,
): ReadonlyMap<string, AdminPage> {
  const own = pages.get('/stats/prometheus')!
  const metrics = port === OWN_ALONE ? own : mergeMetrics(own, parts)
  const ready = pages.get('/ready')!
  const end = pages.get('/quitquitquit')!
  return new Map<string, AdminPage>([
    ['/stats/prometheus', metrics],
    ['/metrics', metrics],
    ['/healthz/ready', { ...ready, handle: () => ready.handle(new URLSearchParams()) }],
    ...(port === OWN_ALONE ? [] : [['/quitquitquit', end] as const]),
  ])
}
