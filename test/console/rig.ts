/** A hub with its console in this process, and Debian's Chromium before it. What the browser complains of fails the test. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import { systemClock, systemRandom } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { silentLog } from '../../core/log.ts'
import { addLoginLink } from '../../hub/console/logins.ts'
import { parseHubConfig } from '../../hub/config.ts'
import { startHub, type Hub } from '../../hub/hub.ts'
import type { Grant } from '../../hub/registry/console-sessions.ts'
import { buildConsolePage } from '../../tools/build/console-page.ts'
import { keepAlive } from './fleet.ts'
import { findDebianProgram } from '../../tools/debian.ts'

type Finally = { after(fn: () => void | Promise<void>): void }
export const SHOTS = path.resolve(import.meta.dirname, '../../.cache/console')
export const ADMIN: readonly Grant[] = [{ namespace: '*', role: 'admin' }]
const TEN_MINUTES_MS = 600_000

export type ConsoleRig = { readonly hub: Hub; readonly url: string; link(grants?: readonly Grant[]): Promise<string> }

/** @param settings more of hub.yaml's `console` */
export async function startConsoleHub(t: Finally, settings = ''): Promise<ConsoleRig> {
  // Memory where there is any: ten thousand devices are written with fsync each.
  const folder = fs.mkdtempSync(path.join(fs.existsSync('/dev/shm') ? '/dev/shm' : '/tmp', 'console-'))
  const config = parseHubConfig(
    `listen: 127.0.0.1:0\nresources: ${folder}/resources\nstate: ${folder}/state\ntrustDomain: demo.mesh\nadmin: {port: 0}\nconsole: {listen: "127.0.0.1:0", requestsPerMinute: 100000, loginsPerMinute: 1000${settings}}\n`,
  )
  const world = { clock: systemClock, random: systemRandom, disk: systemDisk }
  const hub = await startHub(config, world, { log: silentLog, page: await buildConsolePage() })
  const stopBeating = keepAlive(hub)
  t.after(async () => {
    stopBeating()
    await hub[Symbol.asyncDispose]()
    fs.rmSync(folder, { recursive: true })
  })
  const url = `http://127.0.0.1:${hub.consolePort}`
  return {
    hub,
    url,
    async link(grants = ADMIN) {
      const p = { operator: 'operator:root', grants, ttlMs: TEN_MINUTES_MS, nowMs: Date.now() }
      return `${url}/login#login=${await addLoginLink(hub.registry.sessions, p)}`
    },
  }
}

export async function startBrowser(t: Finally): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: findDebianProgram('chromium'),
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--force-color-profile=srgb'],
  })
  t.after(() => browser.close())
  return browser
}

export type Screen = {
  readonly name: string
  readonly width: number
  readonly height: number
  readonly colours: 'light' | 'dark'
}
export const SCREENS: readonly Screen[] = [
  { name: 'desk-light', width: 1280, height: 860, colours: 'light' },
  { name: 'desk-dark', width: 1280, height: 860, colours: 'dark' },
  { name: 'phone-light', width: 390, height: 844, colours: 'light' },
  { name: 'phone-dark', width: 390, height: 844, colours: 'dark' },
]

/** A browser of its own, logged in, that keeps what went wrong. */
export async function openConsole(
  browser: Browser,
  rig: ConsoleRig,
  p: { readonly screen: Screen; readonly grants?: readonly Grant[] },
): Promise<{ readonly page: Page; readonly context: BrowserContext; readonly complaints: string[] }> {
  const { width, height, colours } = p.screen
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: colours, baseURL: rig.url })
  const complaints: string[] = []
  const page = await context.newPage()
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('requestfailed', (request) => {
    if (!request.url().endsWith('/events') && request.failure()?.errorText !== 'net::ERR_ABORTED')
      complaints.push(`${request.url()}: ${request.failure()?.errorText}`)
  })
  await page.goto(await rig.link(p.grants))
  await page.getByRole('navigation', { name: 'Views' }).waitFor()
  // The question who is there, before anybody is logged in, is answered with 401.
  assert.ok(
    complaints.every((text) => text.includes('401')),
    complaints.join('\n'),
  )
  complaints.length = 0
  return { page, context, complaints }
}

export async function shoot(page: Page, name: string): Promise<void> {
  fs.mkdirSync(SHOTS, { recursive: true })
  await page.screenshot({ path: path.join(SHOTS, `${name}.png`) })
}
