/** Every view, on a desk and on a phone, light and dark: it is there, is accessible (axe-core), and complains of nothing. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Page } from 'playwright-core'
import { HOSTILE, seedDevices, seedEnrolment, seedRollouts } from './fleet.ts'
import { findViolations } from './axe.ts'
import { openConsole, SCREENS, shoot, startBrowser, startConsoleHub } from './rig.ts'

type View = { readonly name: string; readonly path: string; readonly ready: (page: Page) => Promise<unknown> }
const text = (wanted: string | RegExp) => (page: Page) => page.getByText(wanted).first().waitFor()
const VIEWS: readonly View[] = [
  { name: 'overview', path: '/', ready: text('What is wrong') },
  { name: 'devices', path: '/devices', ready: text('gw-00005') },
  { name: 'devices-nothing', path: '/devices?search=nosuch', ready: text('No device is like that.') },
  { name: 'devices-where', path: '/devices?where=problems%3E0', ready: text('gw-00005') },
  { name: 'devices-where-wrong', path: '/devices?where=nosuch%3D1', ready: text(/there is no field "nosuch"/) },
  { name: 'audit-filtered', path: '/audit?event=token.', ready: text('Show all') },
  { name: 'device', path: '/devices/gw-00005', ready: text('SPIFFE id') },
  { name: 'device-refusing', path: '/devices/gw-00011', ready: text('It refused what is newer:') },
  { name: 'device-cloned', path: '/devices/gw-00002', ready: text(/Its copies came from/) },
  { name: 'device-contested', path: '/devices/gw-00001', ready: text(/waits under this name/) },
  { name: 'enrolment', path: '/enrolment', ready: text('Waiting for approval') },
  { name: 'rollouts', path: '/rollouts', ready: text('Revisions') },
  {
    name: 'rollout',
    path: '/rollouts/:active',
    ready: async (page) => {
      await page.getByText('When it stops by itself').waitFor()
      await page.getByRole('button', { name: 'Show what differs' }).click()
      await page.getByText('+retries: 3').waitFor()
    },
  },
  { name: 'audit', path: '/audit', ready: text('Older') },
  { name: 'sessions', path: '/sessions', ready: text('Last seen') },
  { name: 'not-found', path: '/devices/nosuch', ready: text(/not for you to see/) },
]

/** Nothing sticks out to the side. */
const sticksOut = (page: Page): Promise<boolean> =>
  page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth')

test('every view', async (t) => {
  const rig = await startConsoleHub(t)
  const nowMs = Date.now()
  await seedDevices(rig.hub, 240, nowMs)
  await seedEnrolment(rig.hub, nowMs)
  const active = await seedRollouts(rig.hub, nowMs)
  const browser = await startBrowser(t)
  for (const screen of SCREENS) {
    const { page, context, complaints } = await openConsole(browser, rig, { screen })
    for (const view of VIEWS)
      await t.test(`${view.name} on ${screen.name}`, async () => {
        await page.goto(view.path.replace(':active', active))
        await view.ready(page)
        assert.deepEqual(await findViolations(page), [])
        assert.equal(await sticksOut(page), false, 'wider than the screen')
        assert.notEqual(await page.title(), 'owned')
        assert.equal(await page.locator('#app img, #app script').count(), 0)
        assert.deepEqual(
          complaints.filter((line) => !/40[04]/.test(line)),
          [],
        )
        complaints.length = 0
        await shoot(page, `${view.name}.${screen.name}`)
      })
    await context.close()
  }
  await t.test('what devices write is shown as they wrote it', async () => {
    const { page, context } = await openConsole(browser, rig, { screen: SCREENS[0]! })
    await page.goto('/devices/gw-00011')
    await page.getByText(HOSTILE).waitFor()
    await page.goto('/enrolment')
    await page.getByText(`note=${HOSTILE}`).first().waitFor()
    await context.close()
  })
})

test('the page before a login, and a link that is used', async (t) => {
  const rig = await startConsoleHub(t)
  const browser = await startBrowser(t)
  const page = await (await browser.newContext({ viewport: SCREENS[2]!, baseURL: rig.url })).newPage()
  await page.goto('/devices')
  await page.getByText('meshlet-hub login', { exact: true }).waitFor()
  assert.deepEqual(await findViolations(page), [])
  await shoot(page, 'login.phone-light')
  await page.goto(`${rig.url}/login#login=${'A'.repeat(43)}`)
  await page.getByText(/used already, too old/).waitFor()
  assert.equal(new URL(page.url()).hash, '', 'the link stays in no history')
  assert.deepEqual(await findViolations(page), [])
  await shoot(page, 'login-refused.phone-light')
})

test('a link of somebody else does not take the place of who is logged in unseen', async (t) => {
  const rig = await startConsoleHub(t)
  const browser = await startBrowser(t)
  const { page } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  await page.goto(await rig.link([{ namespace: 'edge', role: 'viewer' }]))
  await page.getByRole('heading', { name: 'Log in again?' }).waitFor()
  assert.deepEqual(await findViolations(page), [])
  await shoot(page, 'login-again.desk-light')
  await page.getByRole('button', { name: 'Stay root' }).click()
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
  assert.equal((await rig.hub.registry.sessions.all())[0]?.grants[0]?.role, 'admin')
})

test('an empty fleet says what to do', async (t) => {
  const rig = await startConsoleHub(t)
  const browser = await startBrowser(t)
  const { page, complaints } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  for (const path of ['/', '/devices', '/enrolment', '/audit']) {
    await page.goto(path)
    await page.getByRole('heading', { level: 1 }).waitFor()
    await page.locator('.loading').waitFor({ state: 'detached' })
    assert.deepEqual(await findViolations(page), [])
    await shoot(page, `empty${path.replace('/', '-')}.desk-light`)
  }
  assert.deepEqual(complaints, [])
})
