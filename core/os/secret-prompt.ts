/** A question on the terminal whose answer is not shown. */
import type { ReadStream } from 'node:tty'
import { guard } from '../defects/guard.ts'

type Input = Pick<ReadStream, 'isTTY' | 'setRawMode' | 'on' | 'off' | 'resume' | 'pause'>
type Output = { write(text: string): unknown }

const [CTRL_C, CTRL_D, BACKSPACE, DELETE, CTRL_U] = ['\x03', '\x04', '\b', '\x7f', '\x15']

/** @returns undefined when nobody sits at a terminal */
export function createSecretPrompt(input: Input, output: Output): ((prompt: string) => Promise<string>) | undefined {
  return input.isTTY ? (prompt) => ask(prompt, input, output) : undefined
}

function ask(prompt: string, input: Input, output: Output): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer: string[] = []
    const finish = (settle: () => void): void => {
      input.off('data', heard)
      input.setRawMode(false)
      input.pause()
      output.write('\n')
      settle()
    }
    const take = (typed: string): boolean => {
      if (typed === '\r' || typed === '\n' || typed === CTRL_D) finish(() => resolve(answer.join('')))
      else if (typed === CTRL_C) finish(() => reject(new Error('it was broken off')))
      else if (typed === BACKSPACE || typed === DELETE) answer.pop()
      else if (typed === CTRL_U) answer = []
      else {
        answer.push(typed)
        return true
      }
      return typed === BACKSPACE || typed === DELETE || typed === CTRL_U
    }
    const heard = guard('process', reject, (chunk: Buffer) => {
      for (const typed of chunk.toString('utf8')) if (!take(typed)) return
    })
    output.write(prompt)
    input.setRawMode(true)
    input.on('data', heard)
    input.resume()
  })
}
