/** The first view of 10,000 devices: what it takes over the wire, asserted, and how long, printed. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { seedDevices } from './fleet.ts'
import { openConsole, SCREENS, shoot, startBrowser, startConsoleHub } from './rig.ts'

const DEVICES = 10_000
const MAX_BYTES = 150_000
const TRIES = 5

test(`the first view of ${DEVICES} devices takes at most ${MAX_BYTES} bytes`, async (t) => {
  const rig = await startConsoleHub(t)
  await rig.hub.registry.exclusively((tx) =>
    seedDevices({ ...rig.hub, registry: tx as typeof rig.hub.registry }, DEVICES, Date.now()),
  )
  const browser = await startBrowser(t)
  const { page: first, context } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  const state = await context.storageState()
  await first.close()
  for (const [path, text] of [
    ['/', 'What is wrong'],
    ['/devices', 'gw-00000'],
  ] as const) {
    const times: number[] = []
    let bytes = 0
    for (let i = 0; i < TRIES; i++) {
      const fresh = await browser.newContext({ viewport: SCREENS[0]!, baseURL: rig.url, storageState: state })
      const page = await fresh.newPage()
      const wire = await fresh.newCDPSession(page)
      await wire.send('Network.enable')
      bytes = 0
      wire.on('Network.loadingFinished', ({ encodedDataLength }) => {
        bytes += encodedDataLength
      })
      const from = performance.now()
      await page.goto(path)
      await page.getByText(text).first().waitFor()
      times.push(performance.now() - from)
      await page.waitForTimeout(300)
      if (i === 0) await shoot(page, `scale${path.replace('/', '-')}.desk-light`)
      await fresh.close()
    }
    const median = times.toSorted((a, b) => a - b)[Math.floor(TRIES / 2)]!
    console.log(
      `${path} with ${DEVICES} devices: ${bytes} bytes over the wire, ${median.toFixed(0)} ms (median of ${TRIES}, slowest ${Math.max(...times).toFixed(0)} ms)`,
    )
    assert.ok(bytes > 10_000 && bytes <= MAX_BYTES, `${path}: ${bytes} bytes`)
  }
})

test(`${DEVICES} rows scroll, and only those that are seen exist`, async (t) => {
  const rig = await startConsoleHub(t)
  await rig.hub.registry.exclusively((tx) =>
    seedDevices({ ...rig.hub, registry: tx as typeof rig.hub.registry }, DEVICES, Date.now()),
  )
  const browser = await startBrowser(t)
  const { page, complaints } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  await page.goto('/devices')
  await page.getByText('gw-00000').waitFor()
  assert.equal(await page.getByRole('table').getAttribute('aria-rowcount'), String(DEVICES + 1))
  const frames = (await page.evaluate(`new Promise((resolve) => {
    const body = document.querySelector('.grid-body')
    const gaps = []
    let last = performance.now()
    let n = 0
    const step = (now) => {
      gaps.push(now - last)
      last = now
      body.scrollTop += 900
      if (++n < 120) requestAnimationFrame(step)
      else resolve(gaps.sort((a, b) => a - b))
    }
    requestAnimationFrame(step)
  })`)) as number[]
  console.log(
    `scrolling: a frame takes ${frames[60]!.toFixed(0)} ms (median), ${frames[113]!.toFixed(0)} ms (95 of 100)`,
  )
  assert.ok((await page.locator('.grid-row').count()) < 60)
  await page.evaluate("document.querySelector('.grid-body').scrollTop = 1e9")
  await page.getByText('gw-09999').waitFor()
  await page.getByLabel('Search').fill('site=harbour line=3')
  // The head is a row, too.
  await page.locator('[role=table][aria-rowcount="287"]').waitFor()
  assert.deepEqual(complaints, [])
})
