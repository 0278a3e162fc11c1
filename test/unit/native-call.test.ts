/** The call layer: native errors become the public classes, signals reach the job. */
import { DiffusionError, DisposedError, ModelFormatError, OutOfMemoryError } from '../../lib/errors'
import { guarded, run, toPublicError } from '../../lib/native/call'
import type { NativeJob } from '../../lib/native/contract'

const native = (code: string, message: string, details = '{}', base: Error = new Error(message)) => Object.assign(base, { code, details })

describe('errors of the binary', () => {
  test('get the class of their code, with parsed details', () => {
    const error = toPublicError(native('ERR_MODEL_FORMAT', 'broken', '{"offset":3}'))
    expect(error).toBeInstanceOf(ModelFormatError)
    expect(error).toMatchObject({ name: 'ModelFormatError', code: 'ERR_MODEL_FORMAT', message: 'broken', details: { offset: 3 } })
    expect(toPublicError(native('ERR_OUT_OF_MEMORY', 'm'))).toBeInstanceOf(OutOfMemoryError)
    expect(toPublicError(native('ERR_DISPOSED', 'm'))).toBeInstanceOf(DisposedError)
    const internal = toPublicError(native('ERR_INTERNAL', 'm'))
    expect(internal).toBeInstanceOf(DiffusionError)
    expect(internal).toMatchObject({ code: 'ERR_INTERNAL' })
  })

  test('invalid arguments keep their error class', () => {
    expect(toPublicError(native('ERR_INVALID_ARG', 'm', '{}', new TypeError('m')))).toBeInstanceOf(TypeError)
    const range = toPublicError(native('ERR_INVALID_ARG', 'm', '{}', new RangeError('m')))
    expect(range).toBeInstanceOf(RangeError)
    expect(range).toMatchObject({ code: 'ERR_INVALID_ARG' })
  })

  test('details that are not JSON do not hide the error', () => {
    expect(toPublicError(native('ERR_IO', 'm', '{broken'))).toMatchObject({ code: 'ERR_IO', details: { text: '{broken' } })
  })

  test.each([
    [undefined],
    [null],
    [5],
    [new Error('own')],
    [Object.assign(new Error('own'), { code: 'ERR_MODEL_FORMAT' })],
    [new DiffusionError('ERR_IO', 'own')],
  ])('what is not of the binary passes through: %s', (error) => {
    expect(toPublicError(error)).toBe(error)
  })

  test('guarded() adds the stack of its caller', () => {
    function theCaller() {
      guarded(() => {
        throw native('ERR_IO', 'gone')
      })
    }
    let error: unknown
    try {
      theCaller()
    } catch (e) {
      error = e
    }
    expect((error as Error).stack).toMatch(/^DiffusionError: gone\n.*theCaller/)
  })
})

/** A job in the test's hands. */
function job<T>() {
  let settle!: { resolve: (value: T) => void; reject: (error: unknown) => void }
  const promise = new Promise<T>((resolve, reject) => (settle = { resolve, reject }))
  const cancel = jest.fn(() => settle.reject(native('ERR_ABORTED', 'aborted')))
  return { job: { promise, cancel } as NativeJob<T>, cancel, ...settle }
}

describe('run()', () => {
  const reason = { any: 'value' }

  test('returns the result and removes its listener from the signal', async () => {
    const control = new AbortController()
    const one = job<number>()
    const result = run(() => one.job, control.signal)
    one.resolve(5)
    expect(await result).toBe(5)
    control.abort(reason)
    expect(one.cancel).not.toHaveBeenCalled()
  })

  test('with an aborted signal the binary is not called', async () => {
    const start = jest.fn(() => job<number>().job)
    await expect(run(start, AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(start).not.toHaveBeenCalled()
  })

  test('an abort cancels the job and rejects with the reason', async () => {
    const control = new AbortController()
    const one = job<number>()
    const result = run(() => one.job, control.signal)
    control.abort(reason)
    await expect(result).rejects.toBe(reason)
    expect(one.cancel).toHaveBeenCalledTimes(1)
  })

  test('an abort during the start of the job takes effect', async () => {
    const control = new AbortController()
    const one = job<number>()
    const start = () => {
      control.abort(reason)
      return one.job
    }
    await expect(run(start, control.signal)).rejects.toBe(reason)
  })

  test('other errors of an aborted job are kept', async () => {
    const control = new AbortController()
    const one = job<number>()
    one.cancel.mockImplementation(() => one.reject(native('ERR_IO', 'disk')))
    const result = run(() => one.job, control.signal)
    control.abort(reason)
    await expect(result).rejects.toMatchObject({ code: 'ERR_IO', message: 'disk' })
  })

  test('errors of start() and of the job become public, with the stack of the call', async () => {
    const failing = run(() => {
      throw native('ERR_DISPOSED', 'gone')
    })
    await expect(failing).rejects.toBeInstanceOf(DisposedError)
    const one = job<number>()
    async function theCaller() {
      await run(() => one.job)
    }
    const result = theCaller()
    one.reject(native('ERR_MODEL_FORMAT', 'broken'))
    const error = (await result.catch((e: unknown) => e)) as Error
    expect(error).toBeInstanceOf(ModelFormatError)
    expect(error.stack).toMatch(/theCaller/)
  })
})
