/** The words and figures of the tour: each step says what happens, and each claim is checked as it is printed. */
export type Figures = {
  httpRequests: number
  httpFailed: number
  retriesSafe: number
  retriesHeldBack: number
  mqttSent: number
  mqttDelivered: number
  mqttLost: number
  mqttDuplicates: number
  offlineStartHttpMs: number
  offlineStartMqttMs: number
  denyInForceMs: number
  brokenPushRefused: boolean
  joinMs: number
  poisonHaltedMs: number
}

export class Tour {
  readonly figures: Figures = {
    httpRequests: 0,
    httpFailed: 0,
    retriesSafe: 0,
    retriesHeldBack: 0,
    mqttSent: 0,
    mqttDelivered: 0,
    mqttLost: 0,
    mqttDuplicates: 0,
    offlineStartHttpMs: 0,
    offlineStartMqttMs: 0,
    denyInForceMs: 0,
    brokenPushRefused: false,
    joinMs: 0,
    poisonHaltedMs: 0,
  }
  readonly failed: string[] = []
  #step = 0

  step(title: string): void {
    console.log(`\n${++this.#step}. ${title}`)
  }
  say(text: string): void {
    console.log(`   ${text}`)
  }
  /** Prints ✓ or ✗ with the claim; a claim that does not hold fails the tour. */
  claim(holds: boolean, text: string): void {
    console.log(`   ${holds ? '✓' : '✗'} ${text}`)
    if (!holds) this.failed.push(`step ${this.#step}: ${text}`)
  }
  /** Prints ✓ with what the step has reached; it would have thrown otherwise. */
  report(text: string): void {
    console.log(`   ✓ ${text}`)
  }
}
