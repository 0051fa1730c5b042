// The first word of an answer from pruned tokens, with llama.cpp alone:
//   embed MODEL.gguf TOKENS.f32 BEFORE AFTER
// TOKENS.f32 has rows of float32, as numpy's `tokens.tofile` writes them; BEFORE and AFTER are token ids with commas.
#include <llama.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

static std::vector<llama_token> ids_of(const std::string & text) {
    std::vector<llama_token> ids;
    std::stringstream stream(text);
    for (std::string one; std::getline(stream, one, ',');) ids.push_back(std::stoi(one));
    return ids;
}

// One batch of ids, or of rows of embeddings where `rows` is given.
static bool decode(llama_context * context, llama_token * ids, float * rows, int count, int start) {
    std::vector<llama_pos> pos(count);
    std::vector<int32_t> lengths(count, 1);
    std::vector<int8_t> logits(count, 0);
    llama_seq_id zero = 0;
    std::vector<llama_seq_id *> sequences(count, &zero);
    for (int i = 0; i < count; i++) pos[i] = start + i;
    logits.back() = 1;
    llama_batch batch = {count, ids, rows, pos.data(), lengths.data(), sequences.data(), logits.data()};
    return llama_decode(context, batch) == 0;
}

int main(int argc, char ** argv) {
    if (argc != 5) return std::fprintf(stderr, "embed MODEL.gguf TOKENS.f32 BEFORE AFTER\n"), 2;
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return std::fprintf(stderr, "no model in %s\n", argv[1]), 2;
    llama_context * context = llama_init_from_model(model, llama_context_default_params());
    std::ifstream file(argv[2], std::ios::binary);
    std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
    const int width = llama_model_n_embd(model), most = llama_n_batch(context);
    if (!context || bytes.empty() || bytes.size() % (width * sizeof(float)))
        return std::fprintf(stderr, "%s holds no rows of %d floats\n", argv[2], width), 2;
    float * rows = reinterpret_cast<float *>(bytes.data());
    const int visual = bytes.size() / (width * sizeof(float));
    std::vector<llama_token> before = ids_of(argv[3]), after = ids_of(argv[4]);
    if (before.size() + visual + after.size() > llama_n_ctx(context))
        return std::fprintf(stderr, "the prompt is longer than the context\n"), 2;
    int done = 0;
    bool read = before.empty() || decode(context, before.data(), nullptr, before.size(), 0);
    done += before.size();
    for (int i = 0; read && i < visual; i += most) {  // a wider batch would abort the process
        const int count = std::min(most, visual - i);
        read = decode(context, nullptr, rows + size_t(i) * width, count, done);
        done += count;
    }
    if (!read || after.empty() || !decode(context, after.data(), nullptr, after.size(), done)) return 1;
    const float * logits = llama_get_logits_ith(context, -1);
    const int words = llama_vocab_n_tokens(llama_model_get_vocab(model));
    std::printf("%d\n", int(std::max_element(logits, logits + words) - logits));
}
