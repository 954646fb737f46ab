/** One device: what it is to have and has, and what it says when it is asked. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Configuration, ResourceDiff } from '../../hub/console/fleet-schemas.ts'
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
