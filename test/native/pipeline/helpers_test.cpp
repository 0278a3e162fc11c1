#include <algorithm>

#include "check.h"
#include "fixture.h"
#include "formats/open.h"
#include "pipeline/conditioners/emphasis.h"
#include "pipeline/image/latent_scaling.h"
#include "pipeline/image/preview.h"
#include "pipeline/image/tiling.h"
#include "pipeline/image/to_pictures.h"
#include "pipeline/memory/stage_plan.h"

using namespace latent;
using namespace latent::pipeline;

TEST(linear_preview_matches_the_web_ui) {
    const Json golden = fixture::json("procedures/latent_preview.json");
    for (const Json & set : golden["sets"]) {
        ModelSpec spec;
        if (set["name"] == "webui_sd1") {
            spec.family = "sd1";
        } else if (set["name"] == "webui_sdxl") {
            spec.family = "sdxl";
        } else {
            continue;
        }
        const Latents latents{{1, 4, 6, 5}, fixture::formula("preview:z", 120)};
        const Picture picture = linear_preview(latents, 0, spec);
        const auto expected = set["expected_u8"].get<std::vector<int>>();
        CHECK(picture.width == 5 && picture.height == 6 && picture.data.size() == expected.size());
        for (size_t i = 0; i < expected.size(); ++i) CHECK_NEAR(picture.data[i], expected[i], 1);
    }
}

TEST(latents_with_statistics_of_their_channels) {
    const auto golden = formats::open_model_file(std::string(LATENT_FIXTURES) + "/procedures/prediction_types.safetensors");
    const auto within = [&](const char * name, const Latents & actual) {
        const std::vector<float> expected = golden->read_f32(*golden->find(name));
        CHECK(expected.size() == actual.data.size());
        for (size_t i = 0; i < expected.size(); ++i)
            CHECK_NEAR(actual.data[i], expected[i], 1e-5 * std::fabs(expected[i]) + 1e-6);
    };
    const Json file = fixture::json("procedures/prediction_types.json");
    const Latents z{{1, 4, 3, 2}, fixture::formula("pred:z", 24)};
    const LatentScaling playground{0.5, file["latents_mean"].get<std::vector<double>>(),
                                   file["latents_std"].get<std::vector<double>>()};
    Latents in = z, out = z;
    playground.to_latents(in);
    within("playground.in", in);
    playground.to_codes(out);
    within("playground.out", out);
    // Of several images, the channels of each.
    Latents two{{2, 4, 3, 2}, z.data};
    two.data.insert(two.data.end(), z.data.begin(), z.data.end());
    playground.to_latents(two);
    CHECK(std::equal(in.data.begin(), in.data.end(), two.data.begin() + 24));
    Latents plain = z;
    LatentScaling{0.25, {}, {}}.to_latents(plain);
    CHECK(plain.data[5] == z.data[5] * 0.25f);
}

TEST(linear_preview_takes_the_factors_of_the_model) {
    ModelSpec spec;
    spec.family = "sd1";
    spec.preview_factors = {1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5, 0.5, 0.5, -1, 0, 1};  // 4 channels and the bias
    const Latents latents{{1, 4, 1, 2}, {0.5f, 0, 0.25f, 0, -0.5f, 0, 1, 0}};     // channels of the first pixel: .5 .25 -.5 1
    const Picture picture = linear_preview(latents, 0, spec);
    CHECK((picture.data == std::vector<uint8_t>{127, 223, 255, 0, 127, 255}));  // (0, .75, 1) and the bias alone
    spec.preview_factors.resize(12);                                            // of another first stage: the family's are taken
    CHECK(linear_preview(latents, 0, spec).data != picture.data);
}

TEST(preview_of_an_unknown_first_stage_is_its_channels_at_unit_deviation) {
    ModelSpec spec;
    spec.family = "ldm";
    const std::vector<float> z = fixture::formula("preview:z", 75);
    Latents latents{{1, 3, 5, 5}, z};
    const Picture picture = linear_preview(latents, 0, spec);
    double sum = 0, squares = 0;
    for (const float v : z) sum += v, squares += v * v;
    const double deviation = std::sqrt(squares / 75 - sum / 75 * (sum / 75));
    for (size_t i = 0; i < 75; ++i) {
        const double byte = std::floor(255 * std::clamp(z[i % 3 * 25 + i / 3] / (4 * deviation) + 0.5, 0.0, 1.0));
        CHECK_NEAR(picture.data[i], byte, 1);
    }
    for (float & v : latents.data) v *= 40;  // whatever the scale of the latents is
    CHECK(linear_preview(latents, 0, spec).data == picture.data);
    for (float & v : latents.data) v = 7;  // no deviation at all
    CHECK(linear_preview(latents, 0, spec).data[0] == 127);
    // The x4 upscaler counts as SD 2 and has a first stage of its own.
    spec.family = "sd2", spec.kind = "superres";
    latents = {{1, 4, 5, 5}, std::vector<float>(100)};
    std::copy(z.begin(), z.end(), latents.data.begin());
    CHECK(linear_preview(latents, 0, spec).data == picture.data);
}

TEST(preview_refuses_a_row_outside_the_batch) {
    const Latents latents{{1, 4, 2, 2}, std::vector<float>(16)};
    CHECK_THROWS(linear_preview(latents, 1, ModelSpec{}), ErrorCode::invalid_argument);
}

TEST(emphasis_matches_the_web_ui_and_comfy) {
    const Json golden = fixture::json("procedures/prompt_chunks.json")["emphasis_math"];
    std::vector<float> weights;
    for (const Json & row : golden["multipliers"]) {
        for (const Json & weight : row) weights.push_back(weight.get<float>());
    }
    std::vector<float> empty = fixture::formula("emphasis:empty", 20);
    empty.insert(empty.end(), empty.begin(), empty.begin() + 20);
    const std::pair<const char *, const char *> names[] = {{"Original", "original"}, {"No norm", "no_norm"}, {"comfy", "comfy"}};
    for (const auto & [theirs, ours] : names) {
        std::vector<float> z = fixture::formula("emphasis:z", 40);
        apply_emphasis(z, weights, 4, ours, empty);
        const auto expected = golden["expected"][theirs].get<std::vector<double>>();
        for (size_t i = 0; i < z.size(); ++i) CHECK_NEAR(z[i], expected[i], 1e-5 * std::max(1.0, std::fabs(expected[i])));
    }
    std::vector<float> z = fixture::formula("emphasis:z", 8);
    const std::vector<float> before = z, ones{1.0f, 1.0f};
    apply_emphasis(z, ones, 4, "original", {});
    CHECK(z == before);
    CHECK_THROWS((apply_emphasis(z, ones, 4, "loud", {}), 0), ErrorCode::invalid_argument);
}

TEST(pictures_round_half_to_even_and_survive_nan) {
    const Json golden = fixture::json("procedures/image_convert.json")["cases"];
    ImageTensor image;
    image.data = golden["input"].get<std::vector<float>>();
    const auto expected = golden["diffusers_round"].get<std::vector<int>>();
    image.shape = {1, 1, 1, static_cast<int64_t>(image.data.size())};
    const Picture picture = to_pictures(image)[0];
    for (size_t i = 0; i < expected.size(); ++i) CHECK_NEAR(picture.data[i], expected[i], 1e-9);
    image = {{1, 1, 1, 3}, {NAN, INFINITY, -INFINITY}};
    const Picture odd = to_pictures(image)[0];
    CHECK(odd.data[0] == 0 && odd.data[1] == 255 && odd.data[2] == 0);
}

TEST(tiles_cover_everything_once) {
    CHECK((tile_starts(10, 10, 7) == std::vector<int64_t>{0}));
    CHECK((tile_starts(20, 8, 6) == std::vector<int64_t>{0, 6, 12}));
    CHECK((tile_starts(21, 8, 6) == std::vector<int64_t>{0, 6, 12, 13}));
}

TEST(tiled_equals_whole_for_a_local_operation) {
    // Nearest doubling knows nothing of its neighbours, so blending must give back exactly the whole result.
    const auto doubled = [](const ImageTensor & in) {
        const auto [n, c, h, w] = in.shape;
        ImageTensor out{{n, c, 2 * h, 2 * w}, std::vector<float>(static_cast<size_t>(4 * n * c * h * w))};
        for (int64_t i = 0; i < n * c * 2 * h; ++i) {
            for (int64_t x = 0; x < 2 * w; ++x)
                out.data[static_cast<size_t>(i * 2 * w + x)] =
                    in.data[static_cast<size_t>((i / (2 * h) * h + i % (2 * h) / 2) * w + x / 2)];
        }
        return out;
    };
    for (const auto & [h, w] : {std::pair<int, int>{16, 16}, {33, 47}, {20, 90}, {90, 17}}) {
        const ImageTensor image{{2, 3, h, w}, fixture::formula("tiling", static_cast<size_t>(2 * 3 * h * w))};
        int64_t last = 0, total = 0;
        JobContext job;
        job.progress = [&](const Progress & p) { last = p.step, total = p.steps; };
        const ImageTensor tiled = run_tiled(image, TileGrid::for_tile(16), 2, 1, Phase::decode, job, doubled);
        const ImageTensor whole = doubled(image);
        CHECK(tiled.shape == whole.shape);
        double worst = 0;
        for (size_t i = 0; i < whole.data.size(); ++i)
            worst = std::max(worst, static_cast<double>(std::fabs(tiled.data[i] - whole.data[i])));
        CHECK(worst < 1e-6);
        CHECK(last == total && total > 0);
    }
}

TEST(tiling_stops_when_cancelled) {
    const ImageTensor image{{1, 1, 64, 64}, std::vector<float>(4096)};
    JobContext job;
    int calls = 0;
    const auto run = [&](const ImageTensor & tile) {
        if (++calls == 2) job.cancel->cancel();
        return tile;
    };
    CHECK_THROWS(run_tiled(image, TileGrid::for_tile(16), 1, 1, Phase::decode, job, run), ErrorCode::aborted);
    CHECK(calls == 2);
}

TEST(plan_takes_the_largest_tile_that_fits) {
    const auto measure = [](int64_t h, int64_t w) { return static_cast<uint64_t>(h * w) * 1000; };
    StagePlanRequest request{128, 128};
    request.budget = UINT64_MAX;
    CHECK(plan_stage(request, "x", measure).tile == 0);
    request.budget = 64 * 64 * 1000;
    CHECK(plan_stage(request, "x", measure).tile == 64);
    request.budget = 64 * 64 * 1000 - 1;
    CHECK(plan_stage(request, "x", measure).tile == 48);
    request.budget = 1000;
    CHECK_THROWS(plan_stage(request, "x", measure), ErrorCode::out_of_memory);
    request.budget = UINT64_MAX;
    request.largest = kLowMemoryTile;
    CHECK(plan_stage(request, "x", measure).tile == 64);
    StagePlanRequest small{64, 48};  // no larger than one tile: whole
    small.budget = UINT64_MAX;
    small.largest = kLowMemoryTile;
    CHECK(plan_stage(small, "x", measure).tile == 0);
    request.tiling = false;
    CHECK(plan_stage(request, "x", measure).tile == 0);
    request.tiling = true;
    request.tile = 40;
    CHECK(plan_stage(request, "x", measure).tile == 40);
}

TEST(plan_takes_exact_tiles_early) {
    const auto measure = [](int64_t h, int64_t w) { return static_cast<uint64_t>(h * w) * 1000; };
    StagePlanRequest request{128, 128};
    request.exact_tiles = true, request.budget = UINT64_MAX;
    CHECK(plan_stage(request, "x", measure).tile == 0);
    request.bearable = 100 * 100 * 1000;  // as soon as the whole is more
    CHECK(plan_stage(request, "x", measure).tile == 96);
    request.bearable = 1;  // the smallest, where even that is more
    CHECK(plan_stage(request, "x", measure).tile == 32);
    request.tiling = false;
    CHECK(plan_stage(request, "x", measure).tile == 0);
    request.tiling = std::nullopt, request.budget = request.bound = 1000;
    CHECK_THROWS(plan_stage(request, "x", measure), ErrorCode::out_of_memory);
}

TEST(exact_tiles_are_the_whole) {
    // Sums of a window of two pixels on every side, zero outside, at twice the size.
    const auto blur = [](const ImageTensor & x) {
        const auto [n, c, h, w] = x.shape;
        ImageTensor y{{n, c, 2 * h, 2 * w}, std::vector<float>(static_cast<size_t>(4 * n * c * h * w))};
        for (int64_t i = 0; i < 2 * h; ++i) {
            for (int64_t j = 0; j < 2 * w; ++j) {
                float sum = 0;
                for (int64_t a = std::max<int64_t>(0, i / 2 - 2); a <= std::min(h - 1, i / 2 + 2); ++a) {
                    for (int64_t b = std::max<int64_t>(0, j / 2 - 2); b <= std::min(w - 1, j / 2 + 2); ++b)
                        sum += x.data[static_cast<size_t>(a * w + b)] * static_cast<float>(1 + i % 2 + 2 * (j % 2));
                }
                y.data[static_cast<size_t>(i * 2 * w + j)] = sum;
            }
        }
        return y;
    };
    const int64_t h = 23, w = 31;
    const ImageTensor image{{1, 1, h, w}, fixture::formula("x", static_cast<size_t>(h * w))};
    const ImageTensor whole = blur(image);
    for (const int tile : {4, 7, 16, 40})
        CHECK(run_exact_tiles(image, tile, 2, 2, 1, Phase::decode, {}, blur).data == whole.data);
    CHECK(run_exact_tiles(image, 4, 1, 2, 1, Phase::decode, {}, blur).data != whole.data);  // with less around them they are not
}

TEST(plan_prefers_bands_to_tiles) {
    const auto measure = [](int64_t h, int64_t w) { return static_cast<uint64_t>(h * w) * 1000; };
    const uint64_t whole = measure(128, 128);
    const auto plan = [&](uint64_t budget, uint64_t bearable, std::optional<bool> tiling = {}, uint64_t bands = 1000000) {
        StagePlanRequest request{128, 128};
        request.budget = request.bound = budget, request.bearable = bearable, request.tiling = tiling;
        return plan_stage(request, "x", measure, [=] { return bands; });
    };
    CHECK(!plan(UINT64_MAX, UINT64_MAX).bands && !plan(whole, whole).bands);
    CHECK(plan(UINT64_MAX, whole - 1).bands && plan(whole - 1, UINT64_MAX).bands);
    CHECK(plan(whole - 1, 0).bytes == 1000000);
    CHECK(!plan(whole, 0, {}, whole).bands);  // bands that save nothing
    // Tiles where not even bands fit, or where they were asked for.
    const uint64_t small = measure(32, 32);
    CHECK(plan(small, 0, {}, small + 1).tile == 32);
    CHECK(plan(UINT64_MAX, 0, true).tile == 64);
    // No tiles where the caller wants none: bands, or a refusal that tells the least.
    CHECK(plan(2000000, 0, false).bands);
    try {
        (void)plan(1000, 0, false);
        check::fail(__FILE__, __LINE__, "a plan beyond its bound");
    } catch (const Error & error) {
        CHECK(error.code() == ErrorCode::out_of_memory);
        CHECK(Json::parse(error.details()) == Json({{"required", 1000000}, {"available", 1000}}));
    }
}

TEST(memory_beyond_the_system_is_refused_with_numbers) {
    latent::pipeline::require_memory(1 << 20, "a little");
    CHECK_THROWS(latent::pipeline::require_memory(uint64_t{1} << 60, "too much"), ErrorCode::out_of_memory);
}

TEST(budget_respects_bound_and_system) {
    CHECK(working_budget(0, 5, UINT64_MAX) == UINT64_MAX);
    CHECK(working_budget(100, 30, UINT64_MAX) == 70);
    CHECK(working_budget(100, 130, UINT64_MAX) == 0);
    CHECK(working_budget(0, 0, 1000) == 800);
}
