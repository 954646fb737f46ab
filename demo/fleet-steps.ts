/** The last steps of the tour: the fleet. A node joins by one command, a bad revision stops by itself, the console. */
import fs from 'node:fs'
import path from 'node:path'
import { describePoison, ORDERS } from './resources.ts'
import { App } from './services.ts'
import type { Site } from './site.ts'
import type { Tour } from './tour.ts'

type Rollout = { readonly id: string; readonly state: string; readonly by: string }
type Entry = { readonly event: string; readonly detail: string }

export async function joinThird(site: Site, tour: Tour): Promise<void> {
  tour.step('A third node joins by one command')
  const token = site.operate('token', 'create', '-n', 'edge', '-s', 'gateway', '--name', 'line2', '--uses', '1')
  const started = performance.now()
  tour.say(site.join(token))
  tour.figures.joinMs = Math.round(performance.now() - started)
  site.line2Agent.start()
  const status = await site.line2Agent.until('line2 is ready', async () => {
    const s = await site.status(site.line2)
    return s?.state === 'ready' && s.control.link === 'connected' ? s : undefined
  })
  tour.claim(
    status.certificate?.spiffeId === 'spiffe://demo.mesh/ns/edge/sa/gateway',
    `it joined in ${tour.figures.joinMs} ms, and is line2, ${status.certificate?.spiffeId}, by a key of its own; the token is spent`,
  )
  using app = new App(site.line2.proxy)
  const reply = await app.call(ORDERS, '/orders/9')
  tour.claim(reply.status === 200, `an app beside it calls ${ORDERS}: ${reply.status}`)
}

export async function showRollout(site: Site, tour: Tour): Promise<void> {
  tour.step('A poisoned revision: a cluster for all, with a file that no agent.yaml permits')
  const file = path.join(site.folder, 'resources/poison.yaml')
  const last = (): Rollout | undefined =>
    (JSON.parse(site.operate('rollout', 'list', '--json')) as readonly Rollout[])[0]
  const before = last()?.id
  const started = performance.now()
  fs.writeFileSync(file, describePoison(path.join(site.folder, 'roots.pem')))
  const halted = await site.hub.until('the rollout halts', async () => {
    const rollout = last()
    return rollout !== undefined && rollout.id !== before && rollout.state === 'halted' ? rollout : undefined
  })
  tour.figures.poisonHaltedMs = Math.round(performance.now() - started)
  const audit = JSON.parse(site.operate('audit', '--of', halted.id, '-o', 'json')) as readonly Entry[]
  const entry = audit.find(({ event }) => event === 'rollout.halted')
  tour.claim(
    entry !== undefined && /wave 1 of 2: rejected>0: 1 of 1/.test(entry.detail),
    `it halted by itself ${(tour.figures.poisonHaltedMs / 1000).toFixed(1)} s after the file was written, with one node of three:\n     ${entry?.detail ?? 'no word of it in the audit log'}`,
  )
  const refusing = async (): Promise<number> => {
    const all = await Promise.all([site.edge, site.cloud, site.line2].map((node) => site.status(node)))
    return all.filter((status) => status === undefined || status.config.rejected.length > 0).length
  }
  await site.hub.until('the last good revision is back', async () => (await refusing()) === 0)
  using app = new App(site.line2.proxy)
  const reply = await app.call(ORDERS, '/orders/10')
  tour.claim(
    reply.status === 200,
    'the last good revision is back: no node has anything to refuse, and calls are answered',
  )
  fs.rmSync(file)
}

export async function showConsole(site: Site, tour: Tour): Promise<void> {
  tour.step('The console')
  const link = site.operate('login')
  const { origin } = new URL(link)
  const page = await fetch(origin).then(
    (response) => response.status,
    () => 0,
  )
  tour.claim(page === 200, `devices, rollouts and audit in a browser: ${origin}`)
  tour.say(`one login within ten minutes: ${link}`)
}
