/** One device: what it is to have and has, and what it says when it is asked. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Configuration, ResourceDiff } from '../../hub/console/fleet-schemas.ts'
import type { Report } from '../../model/fleet/report.ts'
import { DETAILS, REPORT } from '../helpers/control-plane/report.ts'
import { findViolations } from './axe.ts'
import { HOSTILE, seedDevices } from './fleet.ts'
import { openConsole, SCREENS, shoot, startBrowser, startConsoleHub, type ConsoleRig } from './rig.ts'

const CONFIGURATION: Configuration = {
  desired: '91be07aa5c1d2f33',
  running: '3f9a1c20b7d44e01',
  content: { expected: 'a1b2c3d4e5f60718', running: 'b1b2c3d4e5f60718' },
  isRunningKnown: true,
  resources: [
    { type: 'Cluster', name: HOSTILE, state: 'changed', desired: 'aaaa', running: 'bbbb', refused: HOSTILE },
    { type: 'Secret', name: 'key', state: 'added', desired: 'cccc', running: null, refused: null },
    { type: 'Listener', name: 'inbound', state: 'same', desired: 'dddd', running: 'dddd', refused: null },
  ],
  resourcesTotal: 3,
}
const DIFF: ResourceDiff = {
  lines: ['@@ 1', ' {', '-  "timeout": "1s"', `+  "name": "${HOSTILE}"`],
  isCut: false,
  isHidden: false,
}

test('what differs of a device is shown by resource, and what stands there is text', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 20, Date.now())
  const browser = await startBrowser(t)
  for (const screen of [SCREENS[0]!, SCREENS[3]!]) {
    const { page, context } = await openConsole(browser, rig, { screen })
    await page.route('**/configuration', (route) => route.fulfill({ json: CONFIGURATION }))
    await page.route('**/configuration/diff?*', (route) =>
      route.fulfill({ json: route.request().url().includes('Secret') ? { ...DIFF, lines: [], isHidden: true } : DIFF }),
    )
    await page.goto('/devices/gw-00005')
    await page.getByText('differs', { exact: true }).waitFor()
    await page.getByText('It refuses it:').waitFor()
    await page.getByRole('button', { name: /^Show what differs of <img/ }).click()
    await page.getByText('+ "name":').or(page.getByText('+  "name":')).first().waitFor()
    await page.getByRole('button', { name: 'Show what differs of key' }).click()
    await page.getByText('secrets in it').waitFor()
    assert.deepEqual(await findViolations(page), [])
    assert.notEqual(await page.title(), 'owned')
    assert.equal(await page.locator('#app img, #app script').count(), 0)
    await shoot(page, `device-configuration.${screen.name}`)
    await context.close()
  }
})

/** As the hub that has the device's connection, until the test is over. @returns what was asked */
function answerAll({ hub }: ConsoleRig, t: { after(fn: () => void): void }, text: string): string[] {
  const asked: string[] = []
  const timer = setInterval(() => {
    void (async () => {
      for (const one of await hub.registry.deviceCommands.asked(Date.now())) {
        if (!(await hub.registry.deviceCommands.take(one.id))) continue
        asked.push((JSON.parse(one.request) as { command: string }).command)
        await hub.registry.deviceCommands.finish(one.id, 'done', JSON.stringify({ form: 'text', text }))
      }
    })()
  }, 50)
  t.after(() => clearInterval(timer))
  return asked
}

test('a log is followed until it is stopped, by level, and its lines are text', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 20, Date.now())
  const lines = [
    `{"level":30,"msg":"all is well"}`,
    `{"level":50,"msg":"${HOSTILE.replaceAll('"', "'")}"}`,
    'not of this form',
  ]
  const asked = answerAll(rig, t, lines.join('\n'))
  const browser = await startBrowser(t)
  const { page, complaints } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  await page.goto('/devices/gw-00005')
  await page.getByRole('button', { name: 'Follow the log' }).click()
  const answer = page.getByLabel('What the device answered')
  await answer.getByText('all is well').waitFor()
  await page.getByLabel('From level').selectOption('error')
  await answer
    .getByText('all is well')
    .waitFor({ state: 'detached' })
    .catch(() => undefined)
  await page.waitForFunction(
    "!document.querySelector('.answer').textContent.includes('all is well') && document.querySelector('.answer').textContent.includes('not of this form')",
  )
  assert.equal(await page.locator('#app img, #app script').count(), 0)
  assert.deepEqual(await findViolations(page), [])
  await shoot(page, 'device-log.desk-light')
  await page.waitForFunction("document.querySelector('.answer') !== null")
  while (asked.length < 2) await page.waitForTimeout(100)
  await page.getByRole('button', { name: 'Stop following the log' }).click()
  await page.getByRole('button', { name: 'Follow the log' }).waitFor()
  const noted = await rig.hub.registry.audit.page({ subject: 'gw-00005', event: 'device.command', most: 10 })
  assert.equal(noted.length, 1, 'following is one thing that was done')
  await page.getByRole('button', { name: 'Status now' }).click()
  while (!asked.includes('status')) await page.waitForTimeout(100)
  assert.deepEqual(complaints, [])
})

test('a device that is away cannot be asked, and a viewer asks nothing', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 20, Date.now())
  const browser = await startBrowser(t)
  const { page } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  await page.goto('/devices/gw-00007')
  await page.getByText('so it cannot answer').waitFor()
  assert.equal(await page.getByRole('button', { name: 'Status now' }).isDisabled(), true)
  const viewer = await openConsole(browser, rig, {
    screen: SCREENS[2]!,
    grants: [{ namespace: 'edge', role: 'viewer' }],
  })
  await viewer.page.goto('/devices/gw-00005')
  await viewer.page.getByText('SPIFFE id').waitFor()
  await viewer.page.getByRole('heading', { name: 'Link and load' }).waitFor()
  assert.equal(await viewer.page.getByRole('heading', { name: 'Ask the device' }).count(), 0)
})

/** As a device says it, with names that whoever has it chooses. */
const WITH_DETAILS = {
  ...REPORT,
  details: {
    services: {
      rows: [
        ...DETAILS.services.rows,
        { name: HOSTILE, endpoints: 3, healthy: 0, connections: 0 },
        { name: `outbound|443||${'a'.repeat(120)}.cloud`, endpoints: 4, healthy: 1, connections: 12_345 },
        { name: 'outbound|80||empty.cloud', endpoints: 0, healthy: 0, connections: 0 },
      ],
      more: 1_204,
    },
    queues: {
      rows: [
        ...DETAILS.queues.rows,
        {
          kind: 'session',
          name: HOSTILE,
          state: 'away',
          messages: 90_412,
          bytes: 9e7,
          drops: 31,
          sinceMs: Date.now() - 7e6,
        },
        { kind: 'aside', name: 'old/gw-17', state: 'unrouted', messages: 7, bytes: 90, drops: 0, sinceMs: Date.now() },
      ],
      more: { queues: 9_997, messages: 120_000, bytes: 4e8, drops: 2 },
    },
  },
} satisfies Report

test('services and queues are tables, the worst first, and follow the reports', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 20, Date.now())
  const report = (over: Report) =>
    rig.hub.registry.reports.write(
      [{ name: 'gw-00005', atMs: Date.now(), restarts: 0, expected: '', report: over }],
      [],
    )
  await report(WITH_DETAILS)
  const browser = await startBrowser(t)
  for (const screen of SCREENS) {
    const { page, context, complaints } = await openConsole(browser, rig, { screen })
    await page.goto('/devices/gw-00005')
    const services = page.getByRole('table').filter({ has: page.getByText('Connections', { exact: true }) })
    const queues = page.getByRole('table').filter({ has: page.getByText('Receiver', { exact: true }) })
    await services.waitFor()
    const first = services.getByRole('row').nth(1)
    assert.ok((await first.innerText()).includes(HOSTILE))
    assert.match(await first.innerText(), /down\s+0 of 3\s+0$/)
    assert.match(await services.getByRole('row').nth(2).innerText(), /partly down\s+1 of 4\s+12,345$/)
    assert.match(await services.getByRole('row').last().innerText(), /empty\.cloud\s+no endpoints\s+0 of 0\s+0$/)
    assert.match(await queues.getByRole('row').nth(1).innerText(), /client\s+away\s+90,412\s+90 MB\s+1 hr\. ago\s+31$/)
    await page.getByText('Without a row: 1,204 services.').waitFor()
    await page
      .getByText('Without a row: 9,997 queues, none of them deeper, with 120,000 messages of 400 MB, 2 dropped.')
      .waitFor()
    assert.equal(await page.locator('#app img, #app script').count(), 0)
    assert.equal(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), true, 'nothing sticks out')
    assert.deepEqual(await findViolations(page), [])
    await services.scrollIntoViewIfNeeded()
    await queues.scrollIntoViewIfNeeded()
    await shoot(page, `device-services.${screen.name}`)
    // Told by the hub, without a load.
    const { details } = WITH_DETAILS
    await report({
      ...WITH_DETAILS,
      details: { ...details, services: { rows: [{ ...details.services.rows[0]!, connections: 77 }], more: 0 } },
    })
    await services.getByRole('cell', { name: '77', exact: true }).waitFor()
    assert.equal(await services.getByRole('row').count(), 2)
    await report(WITH_DETAILS)
    await first.getByText('0 of 3').waitFor()
    assert.notEqual(await page.title(), 'owned')
    assert.deepEqual(complaints, [])
    await context.close()
  }
  const other = await openConsole(browser, rig, { screen: SCREENS[0]!, grants: [{ namespace: 'lab', role: 'viewer' }] })
  await other.page.goto('/devices/gw-00005')
  await other.page.getByText('not for you to see').waitFor()
  assert.equal(await other.page.getByRole('table').count(), 0)
})

test('charts follow the reports, without a load', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 20, Date.now())
  const [name, load] = [
    'gw-00005',
    { connected: true, connects: 0, rttMs: 4, bytes: 9, requests: 2, failures: 1, drops: 0 },
  ]
  const report = (spool: number): Promise<void> =>
    rig.hub.registry.reports.write(
      [{ name, atMs: Date.now(), restarts: 0, expected: '', report: REPORT }],
      [{ ...load, spool, problems: 1, name, atMs: Date.now() }],
    )
  await report(41_234)
  const { page, complaints } = await openConsole(await startBrowser(t), rig, { screen: SCREENS[0]! })
  await page.goto(`/devices/${name}`)
  await page.getByText('At most 41234.').waitFor()
  await report(56_789)
  await page.getByText('At most 56789.').waitFor()
  assert.deepEqual(complaints, [])
})
