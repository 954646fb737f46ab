import type { AdminPage } from './server.ts'

/** Of the admin port's pages, those that a sidecar has on ports of their own: nothing that changes or tells more. */
export function selectScrapePages(pages: ReadonlyMap<string, AdminPage>): ReadonlyMap<string, AdminPage> {
  const metrics = pages.get('/stats/prometheus')!
  const ready = pages.get('/ready')!
  return new Map([
    ['/stats/prometheus', metrics],
    ['/healthz/ready', { ...ready, handle: () => ready.handle(new URLSearchParams()) }],
  ])
}
